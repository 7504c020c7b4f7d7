package mesh

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fullLoad() Load {
	l := Load{
		Seq: 7, AppliedIndex: 1 << 40, Connections: 10_000, ForwardedIn: 1 << 50, ForwardedOut: 3, Busy: 0.75, Draining: true,
		Apps: []AppLoad{
			{App: "shop", Ready: 8, Hung: true, Outstanding: 12, Long: 4000, Service: 12345 * time.Microsecond},
			{App: strings.Repeat("n", MaxAppName)},
		},
	}
	return l
}

func TestLoadRoundTrip(t *testing.T) {
	for _, want := range []Load{{}, {Busy: 1}, fullLoad()} {
		got, err := DecodeLoad(want.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLoadAppendKeepsPrefixAndForcesRanges(t *testing.T) {
	l := Load{Busy: float32(math.NaN()), Apps: []AppLoad{{Service: -time.Second}, {Service: 100 * time.Hour}}}
	b := l.Append([]byte("prefix"))
	got, err := DecodeLoad(b[len("prefix"):])
	if err != nil || !bytes.HasPrefix(b, []byte("prefix")) {
		t.Fatal(err, b)
	}
	if got.Busy != 0 || got.Apps[0].Service != 0 || got.Apps[1].Service != math.MaxUint32*time.Microsecond {
		t.Errorf("%+v", got)
	}
	for _, busy := range []float32{-1, 2, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Copysign(0, -1))} {
		if _, err := DecodeLoad(Load{Busy: busy}.Append(nil)); err != nil {
			t.Errorf("busy %v: %v", busy, err)
		}
	}
}

func TestDecodeLoadRefusesEveryTruncationAndTail(t *testing.T) {
	b := fullLoad().Append(nil)
	for n := range b {
		if _, err := DecodeLoad(b[:n]); !errors.Is(err, errBadLoad) {
			t.Errorf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := DecodeLoad(append(b, 0)); !errors.Is(err, errBadLoad) {
		t.Errorf("one byte too many: %v", err)
	}
	b[0]++
	if _, err := DecodeLoad(b); !errors.Is(err, errBadLoad) || !strings.Contains(err.Error(), "version 2, not 1") {
		t.Errorf("a later version: %v", err)
	}
}

func FuzzDecodeLoad(f *testing.F) {
	f.Add(Load{}.Append(nil))
	f.Add(fullLoad().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLoad(b)
		if err != nil {
			return
		}
		if again := l.Append(nil); !bytes.Equal(b, again) {
			t.Errorf("decoded %x, encoded %x", b, again)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	l := fullLoad()
	buf := make([]byte, 0, maxLoadBytes)
	for b.Loop() {
		buf = l.Append(buf[:0])
		if _, err := DecodeLoad(buf); err != nil {
			b.Fatal(err)
		}
	}
}
