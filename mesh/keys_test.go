package mesh_test

import (
	"testing"
	"testing/synctest"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

// TestKeyRotation takes a cluster from one key of gossip to another, one node and one step at a time. Nobody is lost at any moment, and the old key is of
// no use afterwards.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(3)
		old, next := w.key, []byte("fedcba9876543210fedcba9876543210")
		for _, keys := range [][2][]byte{{old, next}, {next, old}, {next, nil}} {
			for _, p := range peers {
				if err := p.SetKeys(keys[0], keys[1]); err != nil {
					t.Fatal(err)
				}
				<-time.After(5 * time.Second)
				for _, q := range peers {
					for _, m := range q.Members() {
						if m.Status != mesh.Alive {
							t.Errorf("%s sees %s as %s", q.name, m.Name, m.Status)
						}
					}
				}
			}
		}
		late := w.start(node(3), nil) // with the old key
		if _, err := late.Join(t.Context(), []string{addrOf(0)}); err == nil {
			t.Error("the old key still opens the door")
		}
		right := w.start(node(4), func(o *mesh.Options) { o.Key = next })
		w.join(right, peers[0])
	})
}

// TestAlsoKey is a node that starts while the key is replaced.
func TestAlsoKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		next := []byte("fedcba9876543210fedcba9876543210")
		a := w.start(node(0), func(o *mesh.Options) { o.AlsoKey = next })
		b := w.start(node(1), func(o *mesh.Options) { o.Key, o.AlsoKey = next, o.Key })
		w.join(a, b)
		w.eventually(5*time.Second, "both", func() bool { return a.status("n1") == mesh.Alive && b.status("n0") == mesh.Alive })
	})
}
