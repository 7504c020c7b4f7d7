package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestNobodyIsSentToAWorkerThatIsGone replaces all workers of three servers twenty times while clients come in at each of them, and compares who answers,
// and whom each server has on its list, with who lives.
func TestNobodyIsSentToAWorkerThatIsGone(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "2", "-watch-time", "0", lab.App(t, "plain.js"))
	ready(t, nodes[0], 6, 20*time.Second)
	w := &watcher{gone: make(map[int]time.Time)}
	var clients sync.WaitGroup
	for _, n := range nodes {
		for _, fresh := range []bool{true, false} {
			clients.Go(func() { w.ask(l.Client(fresh), n.URL(3000, "/?ms=5")) })
		}
	}
	const reloads = 20
	begun := time.Now()
	for i := range reloads {
		before := pids(t, nodes[0])
		if r := nodes[i%3].Run("reload", "web"); r.Code != 0 {
			t.Fatalf("reload: exit %d, %s", r.Code, r.Err)
		}
		over := time.Now()
		lab.Eventually(t, 5*time.Second, func() error { return sameLists(nodes, before) })
		w.mu.Lock()
		for pid := range before {
			w.gone[pid] = over
		}
		w.mu.Unlock()
	}
	took := time.Since(begun)
	w.over.Store(true)
	clients.Wait()
	for _, err := range w.wrong[:min(len(w.wrong), 10)] {
		t.Error(err)
	}
	if w.asked < 10000 {
		t.Errorf("%d requests only", w.asked)
	}
	measured(t, 55, "%d reloads of six workers in %.0f s: of %d requests %d failed or were answered by a worker that was gone; the lists of all three servers are the same after each",
		reloads, took.Seconds(), w.asked, len(w.wrong))
}

// watcher asks, and notes what fails, and who answers though it should be gone.
type watcher struct {
	over atomic.Bool

	mu    sync.Mutex
	asked int
	gone  map[int]time.Time // by process, since when it gets nothing more
	wrong []error
}

func (w *watcher) ask(c *http.Client, url string) {
	for !w.over.Load() {
		sent := time.Now()
		a, err := lab.Get(c, url)
		w.mu.Lock()
		w.asked++
		if since, ok := w.gone[a.PID]; err == nil && ok && sent.After(since) {
			err = fmt.Errorf("%s, process %d, answered a request that was sent %s after it was replaced", a.Who(), a.PID, sent.Sub(since))
		}
		if err != nil {
			w.wrong = append(w.wrong, err)
		}
		w.mu.Unlock()
	}
}

// sameLists is an error while servers do not show the same workers, all of them alive and none of them a former one.
func sameLists(nodes []*lab.Node, former map[int]bool) error {
	var first []string
	for i, n := range nodes {
		ws, err := n.Workers()
		if err != nil {
			return err
		}
		var all []string
		for _, w := range ws {
			if w.Status != "ready" || former[w.PID] || gone(w.PID) == nil {
				return fmt.Errorf("%s shows %+v", n.Name, w)
			}
			all = append(all, fmt.Sprint(w.Node, "/", w.Worker, " ", w.PID))
		}
		if slices.Sort(all); i == 0 {
			first = all
		}
		if !slices.Equal(all, first) || len(all) != 6 {
			return fmt.Errorf("%s shows %v, %s %v", n.Name, all, nodes[0].Name, first)
		}
	}
	return nil
}
