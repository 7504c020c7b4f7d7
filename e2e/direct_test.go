package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// bothWays runs a test on a node whose workers accept by themselves, and on one that passes every connection on.
func bothWays(t *testing.T, test func(t *testing.T, l *lab.Lab, n *lab.Node, sockets int)) {
	for mode, sockets := range map[string]int{"auto": 3, "off": 1} {
		t.Run(mode, func(t *testing.T) {
			lab.NeedNode(t)
			l := lab.New(t, 1)
			n := l.Cluster("-direct", mode)[0]
			n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
			ready(t, n, 2, 20*time.Second)
			if strings.Contains(n.Output(), "one by one") {
				sockets = 1 // the kernel or this user's rights do not allow more
			}
			test(t, l, n, sockets)
		})
	}
}

// listening counts the sockets that listen on a port where a process runs.
func listening(pid, port int) (n int) {
	for _, table := range []string{"tcp", "tcp6"} {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		for _, line := range strings.Split(string(raw), "\n") {
			if f := strings.Fields(line); len(f) > 3 && f[3] == "0A" && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				n++
			}
		}
	}
	return n
}

// wants waits until so many sockets listen.
func wants(t *testing.T, n *lab.Node, sockets int, when string) {
	t.Helper()
	lab.Eventually(t, 10*time.Second, func() error {
		if got := listening(n.PID(), 3000); got != sockets {
			return fmt.Errorf("%s: %d sockets listen, want %d", when, got, sockets)
		}
		return nil
	})
}

// A worker that is stopped costs what was under way on it, and what it had accepted; soon nobody notices. It serves again when it goes on.
func TestStoppedWorker(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lab.Lab, n *lab.Node, sockets int) {
		wants(t, n, sockets, "two workers")
		ws, err := n.Workers()
		if err != nil {
			t.Fatal(err)
		}
		fresh := l.Client(true)
		url := []string{n.URL(3000, "/")}
		early := lab.StartLoad(300, []*http.Client{fresh}, url)
		lab.Eventually(t, 20*time.Second, func() error { return atLeast(early.Sent(), 300) })
		if err := syscall.Kill(ws[0].PID, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		<-time.After(500 * time.Millisecond)
		load := lab.StartLoad(300, []*http.Client{fresh}, url)
		lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 600) })
		sent, failed, served := load.Stop()
		t.Logf("from 0.5 s after the stop on: %d of %d lost, served by %v", len(failed), sent, served)
		for _, f := range failed {
			t.Error(f)
		}
		if len(served) != 1 {
			t.Errorf("served by %v, want the other worker alone", served)
		}
		if err := syscall.Kill(ws[0].PID, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		// What it had is answered late, now.
		sent, failed, _ = early.Stop()
		t.Logf("the stop under load: %d of %d lost", len(failed), sent)
		for _, f := range failed {
			t.Error(f)
		}
		lab.Eventually(t, 20*time.Second, func() error {
			got, err := lab.Many(fresh, url[0], 20, 4)
			if err == nil && len(got) != 2 {
				err = fmt.Errorf("served by %v", got)
			}
			return err
		})
	})
}

// A reload, a crash of the node and an upgrade lose nothing, and the workers accept by themselves after each as before.
func TestSocketsOfWorkersOutliveTheNode(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lab.Lab, n *lab.Node, sockets int) {
		kept := l.Client(false)
		load := lab.StartLoad(200, []*http.Client{l.Client(true), kept}, []string{n.URL(3000, "/")})
		for what, do := range map[string]func(){
			"reload":  func() { n.Must("reload", "web") },
			"upgrade": func() { n.Must("upgrade", another(t, "meshnode-next")) },
			"crash": func() {
				inner := n.Inner()
				if err := syscall.Kill(inner, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				lab.Eventually(t, 20*time.Second, func() error {
					if now := n.Inner(); now == 0 || now == inner {
						return fmt.Errorf("the node is not there again")
					}
					_, err := n.Status()
					return err
				})
			},
		} {
			do()
			ready(t, n, 2, 20*time.Second)
			wants(t, n, sockets, "after "+what)
			sent := load.Sent()
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+200) })
		}
		lost(t, "reload, upgrade and crash", load)
		kept.CloseIdleConnections()
		lab.Eventually(t, 20*time.Second, func() error { // nothing is counted twice, or for ever
			s, err := n.Status()
			if err == nil && s.Members[0].Connections > 0 {
				err = fmt.Errorf("%d connections, and nobody asks", s.Members[0].Connections)
			}
			return err
		})
	})
}
