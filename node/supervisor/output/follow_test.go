package output

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSlowFollowerMissesLinesAndIsTold(t *testing.T) {
	b, _ := openBook(t)
	f, other := b.Follow(Query{Apps: []string{"app"}}), b.Follow(Query{Apps: []string{"other"}})
	defer f.Close()
	defer other.Close()
	printed(t, b, "app", Policy{}, strings.Repeat("x\n", followLines+5))
	ls, err := f.Next(t.Context())
	if err != nil || len(ls) != followLines+1 || ls[followLines].Dropped != 5 || ls[followLines].Time.IsZero() {
		t.Errorf("%d lines, %v; last %+v", len(ls), err, ls[len(ls)-1])
	}
	if b.Lost() != 5 || b.LostOf("app") != 0 || len(other.grab()) != 0 {
		t.Errorf("lost %d", b.Lost())
	}
	printed(t, b, "app", Policy{}, strings.Repeat(strings.Repeat("y", 10_000)+"\n", 200)) // too many bytes
	if ls, err = f.Next(t.Context()); err != nil || len(ls) > followBytes/10_000+1 || ls[len(ls)-1].Dropped == 0 {
		t.Errorf("%d lines, %v", len(ls), err)
	}
	if len(f.grab()) != 0 {
		t.Error("lines come twice")
	}
}

// TestNothingIsMissingBetweenPastAndNew follows while a worker prints: every line comes once.
func TestNothingIsMissingBetweenPastAndNew(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	p := attach(t, s)
	stop := make(chan struct{})
	printed := make(chan int)
	go func() {
		n := 0
		defer func() { printed <- n }()
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				p.print(numbered(n, 7))
				n += 7
			}
		}
	}()
	enough := errors.New("enough")
	for range 5 {
		next, marks := 0, 0
		err := b.Read(t.Context(), Query{Lines: 100_000, Follow: true}, func(l Line) error {
			if l.Now {
				marks++
				return nil
			}
			if !strings.HasPrefix(numbered(next, 1), l.Text[:9]) {
				t.Fatalf("line %.9s in place of %d", l.Text, next)
			}
			if next++; marks == 1 && next%500 == 0 {
				return enough
			}
			return nil
		})
		if err != enough || marks != 1 {
			t.Fatal(err)
		}
	}
	close(stop)
	n := <-printed
	p.end()
	if got := stored(t, b, Query{Lines: 100_000}); len(got) != n {
		t.Errorf("%d lines stored of %d", len(got), n)
	}
}

func TestQueries(t *testing.T) {
	b, _ := openBook(t)
	for i, app := range []string{"a", "b", "a"} {
		s := b.Slot(app, i, Policy{})
		p := attach(t, s)
		p.err.WriteString("err " + app + "\n")
		p.end()
		s.Close()
	}
	middle := time.Now()
	printed(t, b, "a", Policy{}, "late\n")
	for _, c := range []struct {
		q    Query
		want []string
	}{
		{Query{Lines: 9}, []string{"0 err err a", "1 err err b", "2 err err a", "0 out late"}},
		{Query{Lines: 2}, []string{"2 err err a", "0 out late"}},
		{Query{}, nil},
		{Query{Lines: 9, Apps: []string{"b"}}, []string{"1 err err b"}},
		{Query{Lines: 9, Apps: []string{"none"}}, nil},
		{Query{Lines: 9, Worker: "2"}, []string{"2 err err a"}},
		{Query{Lines: 9, Stream: StreamOut}, []string{"0 out late"}},
		{Query{Lines: 9, Since: middle}, []string{"0 out late"}},
		{Query{Lines: 9, Since: middle.Add(time.Hour)}, nil},
		{Query{Lines: 9, Grep: regexp.MustCompile("^err b")}, []string{"1 err err b"}},
	} {
		if got := stored(t, b, c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Read(ctx, Query{Follow: true}, func(Line) error { return nil }); err != nil {
		t.Errorf("the end of the reader is an error: %v", err)
	}
}

func TestMoment(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 78_900_000, time.FixedZone("X", 3600))
	for format, want := range map[string]string{
		"YYYY-MM-DD HH:mm:ss.SSS Z": "2026-02-03 04:05:06.078 +01:00", "YYYY-MM-DDTHH:mm:ss": "2026-02-03T04:05:06", "DD/MM/YY h:mm a": "03/02/26 4:05 am",
		"dddd, MMMM Do [at] H:m:s": "Tuesday, February 3rd at 4:5:6", "X x": "1770087906 1770087906078", "": "", "[open": "open", "yyyy ??": "yyyy ??",
		"SSSSSSSSSSSS DDD ddd dd d ZZ Q": "078900000000 34 Tue Tu 2 +0100 1",
	} {
		if got := string(moment(nil, format, at)); got != want {
			t.Errorf("%q: %q, want %q", format, got, want)
		}
	}
}
