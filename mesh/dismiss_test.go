package mesh_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

// A member that failed is dismissed by one, and has left for all; nobody calls it any more. One that is alive cannot be. When it is started again it is
// a member like any other.
func TestDismissedMemberHasLeftForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(4)
		for _, name := range []string{"n3", "nobody"} {
			if err := peers[0].Dismiss(name); !errors.Is(err, mesh.ErrNotFailed) {
				t.Errorf("dismissing %s: %v", name, err)
			}
		}
		peers[3].host.Kill()
		for _, p := range peers[:3] {
			w.eventually(10*time.Second, p.name+" sees the death", func() bool { return p.status("n3") == mesh.Failed })
		}
		for range 2 { // a second time says nothing new
			if err := peers[1].Dismiss("n3"); err != nil {
				t.Fatal(err)
			}
			for _, p := range peers[:3] {
				w.eventually(5*time.Second, p.name+" has heard", func() bool { return p.status("n3") == mesh.Left })
			}
		}
		again := node(3)
		again.StartedAt = time.Now()
		back := w.start(again, nil)
		w.join(back, peers[0])
		for _, p := range peers[:3] {
			w.eventually(10*time.Second, p.name+" sees it back", func() bool { return p.status("n3") == mesh.Alive })
		}
	})
}
