package mesh_test

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

// A cut is told of where nothing gets through, whichever way it is cut, once; the link is told of first.
func TestCutIsToldOf(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(w *world, a, b *peer)
	}{
		{"what we say", func(w *world, a, b *peer) { w.net.Cut(a.host, b.host) }},
		{"what we hear", func(w *world, a, b *peer) { w.net.Cut(b.host, a.host) }},
		{"the host is gone", func(_ *world, _, b *peer) { b.host.Stop() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, meshtest.Options{Delay: 50 * time.Millisecond})
				peers := w.cluster(3)
				a, b := peers[0], peers[1]
				w.eventually(time.Second, "links", func() bool { return a.linkUp("n1") && b.linkUp("n0") })
				c.cut(w, a, b)
				took := w.eventually(700*time.Millisecond, "the cut", func() bool { return len(a.unreachable())+len(b.unreachable()) > 0 })
				if took < 400*time.Millisecond {
					t.Errorf("told after %v: too nervous", took)
				}
				<-time.After(10 * time.Second)
				if got := slices.Concat(a.unreachable(), b.unreachable()); len(got) > 2 {
					t.Errorf("told %d times: %v", len(got), got)
				}
				if got := peers[2].unreachable(); c.name != "the host is gone" && len(got) != 0 {
					t.Errorf("the third one was told of %v", got)
				}
			})
		})
	}
}

// A process that says nothing is held up, and no cut is told of while its kernel answers.
func TestSilentProcessIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		var silent atomic.Bool
		a := w.start(node(0), nil)
		b := w.start(node(1), func(o *mesh.Options) { o.LoadListener = muted{o.LoadListener, &silent} })
		w.join(b, a)
		w.eventually(3*time.Second, "link", func() bool { return a.linkUp("n1") })
		silent.Store(true)
		w.eventually(210*time.Millisecond, "link down", func() bool { return !a.linkUp("n1") })
		<-time.After(4 * time.Second)
		silent.Store(false)
		w.eventually(100*time.Millisecond, "link up", func() bool { return a.linkUp("n1") })
		if got := a.unreachable(); len(got) != 0 {
			t.Errorf("told of %v", got)
		}
	})
}

// muted gives out streams that lose what is written while they are silent.
type muted struct {
	net.Listener
	silent *atomic.Bool
}

func (m muted) Accept() (net.Conn, error) {
	c, err := m.Listener.Accept()
	return mute{c, m.silent}, err
}

type mute struct {
	net.Conn
	silent *atomic.Bool
}

func (m mute) Write(b []byte) (int, error) {
	if m.silent.Load() {
		return len(b), nil
	}
	return m.Conn.Write(b)
}
