package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/e2e/lab/wire"
)

// anyDoor is a client that has the addresses of several servers, as a name with several addresses gives them, and takes the next where one does
// not take its connection.
func anyDoor(t *testing.T, l *lab.Lab, nodes []*lab.Node) *http.Client {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var err error
		for _, i := range rand.Perm(len(nodes)) {
			var c net.Conn
			one, cancel := context.WithTimeout(ctx, time.Second)
			c, err = l.DialContext(one, "tcp", nodes[i].IP+":3000")
			cancel()
			if err == nil {
				return c, nil
			}
		}
		return nil, err
	}}
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

// TestRestartsInTurn restarts the servers of a cluster of five in turn, twenty times, while clients with all their addresses send requests and
// somebody changes the configuration all the time.
func TestRestartsInTurn(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 5)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 5, 20*time.Second)
	requests := lab.StartLoad(200, []*http.Client{anyDoor(t, l, nodes)}, []string{nodes[0].URL(3000, "/?ms=5")})
	w := startWriter(nodes)
	begun := time.Now()
	for i := range 20 {
		n := nodes[i%5]
		if err := n.Stop(40 * time.Second); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		n.Restart()
		other := nodes[(i+1)%5]
		other.Voters(30*time.Second, 5, 5)
		ready(t, other, 5, 20*time.Second)
		time.Sleep(time.Second)
	}
	took := time.Since(begun)
	w.stop()
	sent, failed, _ := requests.Stop()
	for i, f := range failed {
		if i < 10 {
			t.Error(f)
		}
	}
	for _, n := range nodes {
		lab.Eventually(t, 10*time.Second, func() error { return w.holds(n) })
	}
	measured(t, 57, "in %.0f s %d of %d requests failed; %d changes acknowledged (%d with an outcome not known), the last of them is there on all", took.Seconds(), len(failed), sent, w.acked, w.open)
}

// writerKey is the setting that a writer changes; it is of no consequence here.
const writerKey = "idle_timeout"

// writer changes a setting of the cluster, one change after the other, at whichever server answers.
type writer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup
	acked  int
	open   int             // changes whose outcome was not known
	may    map[string]bool // what the setting may be now: the last that was acknowledged, and what was open since
	last   string          // what was said of the last change that was not acknowledged
}

func startWriter(nodes []*lab.Node) *writer {
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{cancel: cancel, may: map[string]bool{"0": true}}
	w.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			value := (time.Hour + time.Duration(i)*time.Second).String()
			if r := nodes[rand.IntN(len(nodes))].Run("set", writerKey+"="+value); r.Code == 0 {
				w.acked++
				w.may = map[string]bool{value: true}
			} else {
				w.last = fmt.Sprintf("%s: exit %d: %s", value, r.Code, strings.TrimSpace(r.Err))
				if strings.Contains(r.Err, "may or may not") {
					w.open++
					w.may[value] = true
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	return w
}

func (w *writer) stop() {
	w.cancel()
	w.done.Wait()
}

// holds is an error while a server has another value than the writer left.
func (w *writer) holds(n *lab.Node) error {
	s, err := n.Status()
	if err == nil && !w.may[s.Settings[writerKey]] {
		err = fmt.Errorf("%s has %s, and what was acknowledged last is %v; the last that was not: %s", n.Name, s.Settings[writerKey], w.may, w.last)
	}
	return err
}

// TestDeathIsAgreedOn kills and stops one of ten servers, and waits until each of the others says so.
func TestDeathIsAgreedOn(t *testing.T) {
	onlyFull(t)
	l := lab.New(t, 10)
	nodes := l.Cluster()
	victim, rest := nodes[9], nodes[:9]
	// The lines in the logs are the measure: status asks the stopped server too, and waits for it.
	said := func() (counts []int) {
		for _, n := range rest {
			counts = append(counts, strings.Count(n.Output(), "member failed: peer="+victim.Name+" "))
		}
		return counts
	}
	for _, c := range []struct {
		row  int
		what string
		do   func()
		undo func()
	}{
		{8, "killed", victim.Kill, victim.Restart},
		{9, "stopped", func() { victim.SignalAll(syscall.SIGSTOP) }, func() { victim.SignalAll(syscall.SIGCONT) }},
	} {
		before := said()
		c.do()
		took := lab.Eventually(t, 15*time.Second, func() error {
			for i, k := range said() {
				if k == before[i] {
					return errors.New(rest[i].Name + " does not say that it failed")
				}
			}
			return nil
		})
		c.undo()
		for _, n := range rest {
			memberStatus(t, n, victim.Name, "alive", 20*time.Second)
		}
		measured(t, c.row, "%s: all nine others agree after %.1f s", c.what, took.Seconds())
	}
}

// TestNoFalseDeath runs twenty servers with 5 % of packets lost everywhere and twenty busy loops on the machine's processors.
func TestNoFalseDeath(t *testing.T) {
	onlyFull(t)
	l := lab.NewWired(t, 20)
	nodes := l.Cluster()
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			l.Cables(a.Host, b.Host, wire.Rule{Loss: 0.05})
		}
	}
	// What is started from here on inherits the precedence, and gives it back: the busy loops have none.
	if err := lab.PreferNetwork(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		c := exec.Command("nice", "-n", "15", "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	}
	begun := time.Now()
	time.Sleep(10 * time.Minute)
	deaths := make(map[string]int)
	for _, n := range nodes {
		for _, line := range strings.Split(n.Output(), "\n") {
			if strings.Contains(line, "member failed") {
				deaths[n.Name]++
			}
		}
	}
	if len(deaths) > 0 {
		t.Errorf("servers that took others for dead: %v", deaths)
	}
	measured(t, 50, "in %.0f minutes %d of 20 servers took one for dead", time.Since(begun).Minutes(), len(deaths))
}
