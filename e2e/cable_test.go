package e2e

import (
	"fmt"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// The cable of a server is pulled while it serves what another passed on to it: the client hears of it when the members agree that the server
// is dead, and does not wait for an answer that cannot come. What others serve goes on.
func TestPulledCable(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	join := l.Host(1).IP + ":7946"
	door := l.Host(1).Start("-join", join, "-no-workers")
	for i := 2; i <= 3; i++ {
		l.Host(i).Start("-join", join)
	}
	door.Voters(30*time.Second, 3, 3)
	door.Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	url := door.URL(3000, "/slow?ms=8000")
	type held struct{ wait func() error }
	by := make(map[string]held)
	lab.Eventually(t, 10*time.Second, func() error {
		a, wait, err := lab.Slow(l.Client(true), url)
		if err == nil {
			by[a.Node] = held{wait}
		}
		if len(by) < 2 {
			return fmt.Errorf("only %d of 2 servers have a connection: %v", len(by), err)
		}
		return nil
	})
	begun := time.Now()
	l.Host(3).Cut()
	if err := by["h3"].wait(); err == nil {
		t.Error("an answer came over a cable that was pulled")
	}
	took := time.Since(begun)
	t.Logf("the client of a server whose cable was pulled heard of it after %.1f s", took.Seconds())
	if took > 10*time.Second {
		t.Errorf("it waited %v", took)
	}
	if err := by["h2"].wait(); err != nil {
		t.Errorf("an answer of another server: %v", err)
	}
	l.Host(3).Mend()
	door.Voters(30*time.Second, 3, 3)
}
