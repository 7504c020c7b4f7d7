package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/memberlist"
)

func TestMessageRoundTrip(t *testing.T) {
	from := origin{name: "n1", started: 1_700_000_000_123}
	kind, got, rest, err := cutMessage(append(appendMessage(nil, kindLoad, from), "record"...))
	if err != nil || kind != kindLoad || got != from || string(rest) != "record" {
		t.Errorf("%d %v %q %v", kind, got, rest, err)
	}
	for _, bad := range [][]byte{nil, {1}, {1, 0}, {1, 2, 'a'}, {9, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0}, {1, 200}} {
		if _, _, _, err := cutMessage(bad); !errors.Is(err, errBadMessage) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func TestNoticesRoundTrip(t *testing.T) {
	var all []origin
	for i := range maxNotices + 10 {
		all = append(all, origin{fmt.Sprint("n", i), int64(i)})
	}
	got, err := decodeNotices(encodeNotices(all))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all[:maxNotices], got, cmp.AllowUnexported(origin{})); diff != "" {
		t.Error(diff)
	}
	tooMany := appendMessage(encodeNotices(all), kindLeave, all[0])
	if _, err := decodeNotices(tooMany); !errors.Is(err, errBadMessage) {
		t.Errorf("too many: %v", err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(appendMessage(nil, kindLeave, origin{"n1", 1}))
	f.Add(append(appendMessage(nil, kindLoad, origin{"n1", 1}), fullLoad().Append(nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind, from, rest, err := cutMessage(b); err == nil {
			if again := append(appendMessage(nil, kind, from), rest...); !bytes.Equal(b, again) {
				t.Errorf("cut %x, joined %x", b, again)
			}
		}
		if all, err := decodeNotices(b); err == nil && !bytes.Equal(b, encodeNotices(all)) && len(b) > 0 {
			t.Errorf("notices %x do not survive", b)
		}
		facts, err := newFacts(Member{Name: "me", ID: "s"})
		if err != nil {
			t.Fatal(err)
		}
		d := &delegate{facts: facts, inbox: newInbox(), meter: &meter{}}
		d.NotifyMsg(b)
		d.MergeRemoteState(b, false)
	})
}

func FuzzMetadata(f *testing.F) {
	full, err := encodeMetadata(Member{ID: "s1", Tags: map[string]string{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(`{"i":"x","t":null,"s":-1}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = memberOf(&memberlist.Node{Name: "n", Addr: net.IPv4(10, 0, 0, 1), Port: 1, Meta: b})
	})
}

func TestMetadataRoundTrip(t *testing.T) {
	want := Member{
		Name: "n1", ID: "s1-3f2a9c1e", Addr: "10.0.0.1:7946", Cluster: "c", Version: "1.2.3", Zone: "z", Cores: 8,
		Tags: map[string]string{"k": "ü\"<&>"}, StartedAt: time.UnixMilli(1_700_000_000_123),
	}
	b, err := encodeMetadata(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := memberOf(&memberlist.Node{Name: "n1", Addr: net.IPv4(10, 0, 0, 1), Port: 7946, Meta: b})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMemberOfRefusesWhatIsTooLong(t *testing.T) {
	for _, test := range []struct{ name, cluster string }{{"", ""}, {strings.Repeat("n", maxNodeName+1), ""}, {"n", strings.Repeat("c", maxClusterID+1)}} {
		meta := []byte(`{"i":"s1","c":"` + test.cluster + `"}`)
		if _, err := memberOf(&memberlist.Node{Name: test.name, Addr: net.IPv4(10, 0, 0, 1), Meta: meta}); err == nil {
			t.Errorf("name of %d bytes, cluster of %d: accepted", len(test.name), len(test.cluster))
		}
	}
}
