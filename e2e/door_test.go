package e2e

import (
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// A server that is told to run no workers takes connections for every app and passes all of them on; verbs work at it as anywhere.
func TestServerWithoutWorkers(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	first := l.Host(1).Start("-join", join)
	door := l.Host(2).Start("-join", join, "-no-workers")
	door.Voters(30*time.Second, 2, 1)
	door.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	door.Must("scale", "web", "+1")
	ws, err := door.Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.Node != first.Name {
			t.Errorf("%s runs worker %s", w.Node, w.Worker)
		}
	}
	if len(ws) != 3 {
		t.Errorf("%d workers, want 3", len(ws))
	}
	by, err := lab.Many(l.Client(true), door.URL(3000, "/?ms=5"), 100, 8)
	t.Logf("100 connections to the door: %v", by)
	if err != nil {
		t.Fatal(err)
	}
	for who := range by {
		if !strings.HasPrefix(who, first.Name+"/") {
			t.Errorf("%s served a connection", who)
		}
	}
}
