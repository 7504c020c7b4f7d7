package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
	"meshnode/e2e/lab/wire"
)

// Four servers with two workers each; the link between two of them has a fault, at 100 requests/s through each of them and through a third.
func TestBadLinks(t *testing.T) {
	lab.NeedNode(t)
	l := lab.NewWired(t, 4)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, nodes[0], 8, 20*time.Second)
	where := owners(t, nodes[0])
	streams := func() []*stream {
		var out []*stream
		for _, n := range nodes[:3] {
			out = append(out, &stream{door: n, rate: 100, warm: time.Second, work: load.Work{Mean: 15 * time.Millisecond}, patience: 4 * time.Second, clients: 128})
		}
		return out
	}
	t.Run("slow and lossy", func(t *testing.T) { slowLink(t, l, nodes, streams(), where) })
	t.Run("one way", func(t *testing.T) {
		cutLink(t, l, nodes, streams(), func(r wire.Rule) { l.Cable(l.Host(1), l.Host(2), r) })
	})
	if !full() {
		return
	}
	t.Run("both ways", func(t *testing.T) {
		cutLink(t, l, nodes, streams(), func(r wire.Rule) { l.Cables(l.Host(1), l.Host(2), r) })
	})
}

// 1 % loss and 50 ms in each direction: no request fails, and all stay members.
func slowLink(t *testing.T, l *lab.Lab, nodes []*lab.Node, streams []*stream, where map[int]string) {
	l.Cables(l.Host(1), l.Host(2), wire.Rule{Delay: 50 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.01})
	defer l.Cables(l.Host(1), l.Host(2), wire.Rule{})
	seen := make(map[string]bool)
	under(t, l, streams, func() {
		for end := time.Now().Add(span(3*time.Second, 60*time.Second)); time.Now().Before(end); time.Sleep(time.Second) {
			for _, n := range nodes {
				s, err := n.Status()
				if err != nil {
					t.Error(err)
				}
				for _, m := range s.Members {
					seen[m.Status] = true
				}
			}
		}
	})
	tell(t, streams, where)
	t.Logf("over the bad link: %d requests from h1 to h2, %d from h2 to h1; frames %+v and %+v; members were seen %v", served(streams[0], where, "h2"),
		served(streams[1], where, "h1"), l.Carried(l.Host(1), l.Host(2)), l.Carried(l.Host(2), l.Host(1)), slices.Sorted(maps.Keys(seen)))
	for _, s := range streams {
		if k := s.kept.Failed + s.fresh.Failed; k > 0 {
			t.Errorf("%d requests through %s failed", k, s.door.Name)
		}
	}
	if seen["failed"] || seen["left"] {
		t.Error("a server was taken for dead")
	}
}

// cutKnown is by when after a cut all that was relayed over it has been reset: a kernel repeats ten records to one that no longer confirms them
// before the stream is silent, and half a second later it counts as cut.
const cutKnown = 1500 * time.Millisecond

// The link is cut and mended: what was sent over it before that is known is lost at most. Connections that lead there are reset then, also those
// on which nothing is sent at the time: each client sends every 2.5 s. A third server notices nothing.
func cutLink(t *testing.T, l *lab.Lab, nodes []*lab.Node, streams []*stream, cut func(r wire.Rule)) {
	where := owners(t, nodes[0])
	under(t, l, streams, func() {
		cut(wire.Rule{Cut: true})
		time.Sleep(span(3*time.Second, 20*time.Second))
		cut(wire.Rule{})
		time.Sleep(span(time.Second, 10*time.Second))
	})
	tell(t, streams, where)
	for i, other := range []string{"h2", "h1", ""} {
		for _, f := range unserved(streams[i:i+1], where, other) {
			t.Error(f)
		}
	}
	for _, s := range streams {
		for _, f := range slices.Concat(s.kept.Failures, s.fresh.Failures) {
			if f.At > cutKnown.Seconds() {
				t.Errorf("through %s, due %.3f s after the cut, failed %.3f s later: %s: %s", s.door.Name, f.At, f.After, f.Class, f.Error)
			}
		}
	}
	failed, sent, last := lostOf(streams)
	measured(t, 16, "%s: %d of %d requests lost, the last one due %.2f s after the cut", strings.ReplaceAll(t.Name(), "TestBadLinks/", ""), failed, sent, last)
	for _, n := range nodes {
		n.Voters(20*time.Second, 4, 3)
	}
}
