package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

var shownCode = regexp.MustCompile(`meshnode admit ([0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4})`)

// newCode waits until a node that has no key shows another code than the last one.
func newCode(t *testing.T, n *lab.Node, last string) string {
	t.Helper()
	var found string
	lab.Eventually(t, 10*time.Second, func() error {
		all := shownCode.FindAllStringSubmatch(n.Output(), -1)
		if len(all) == 0 || all[len(all)-1][1] == last {
			return fmt.Errorf("no new code in:\n%s", n.Output())
		}
		found = all[len(all)-1][1]
		return nil
	})
	return found
}

// A server with nothing but a join address shows a code, and serves once that was typed on a server of the cluster, whichever it is.
func TestServersWithoutTheKey(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	seed := l.Host(1).Start()
	join := l.Host(1).IP + ":7946"
	other := l.Host(2).Start("-join", join)
	seed.Voters(20*time.Second, 2, 1)
	seed.Must("start", "-n", "web", "-i", "1", "-secret-env", "TOKEN=s3cret", lab.App(t, "plain.js"))
	key := l.Key
	l.Key = ""
	n := l.Host(3).Start("-join", join)
	first := newCode(t, n, "")
	if r := other.Must("admit"); !strings.Contains(r.Out, "h3") || strings.Contains(r.Out, first) {
		t.Errorf("who waits:\n%s", r.Out)
	}
	wrong := "2222-2222-2222"
	if r := other.Run("admit", wrong); r.Code != 1 || !strings.Contains(r.Err, wrong) {
		t.Errorf("a wrong code: exit %d, %s", r.Code, r.Err)
	}
	measured(t, 33, "a wrong code: exit 1, nobody is let in")
	if r := other.Must("admit", first); !strings.Contains(r.Out, "h3") {
		t.Errorf("%s", r.Out)
	}
	c := l.Client(true)
	served := func() time.Duration {
		return lab.Eventually(t, 20*time.Second, func() error {
			a, err := lab.Get(c, n.URL(3000, "/"))
			if err == nil && a.Node != "h3" {
				return fmt.Errorf("served by %s", a.Who())
			}
			return err
		})
	}
	t.Logf("the server that was admitted serves with a worker of its own %.1f s later", served().Seconds())
	path := filepath.Join(n.Dir, "cluster.key")
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	if r := other.Run("admit", first); r.Code != 1 {
		t.Errorf("the same code again: exit %d, %s", r.Code, r.Out)
	}
	if s, err := other.Status(); err != nil || !slices.ContainsFunc(s.Members, func(m api.MemberStatus) bool {
		return m.Node == "h3" && m.Trusted != nil && m.Trusted.By == "code"
	}) {
		t.Errorf("%+v, %v", s.Members, err)
	}
	n.Kill()
	n.Restart() // without the key: it has its own now
	served()
	byToken(t, l, seed, join)
	l.Key = key
	otherKey(t, l, []*lab.Node{seed, other, n})
}

// byToken has a server join with a token, and others see why theirs lets nobody in.
func byToken(t *testing.T, l *lab.Lab, seed *lab.Node, join string) {
	t.Helper()
	token := strings.TrimSpace(seed.Must("token", "create").Out)
	brief := strings.TrimSpace(seed.Must("token", "create", "-ttl", "1s").Out)
	if out := seed.Must("token", "list").Out; strings.Count(out, "\n") != 3 || strings.Contains(out, token[:12]) {
		t.Errorf("token list:\n%s", out)
	}
	start := func(token string) *lab.Node {
		n := l.AddHost().Prepare("-join", join)
		n.Env = []string{"MESHNODE_TOKEN=" + token}
		n.Restart()
		return n
	}
	n := start(token)
	lab.Eventually(t, 20*time.Second, func() error {
		s, err := seed.Status()
		for _, m := range s.Members {
			if m.Node == n.Name && m.Status == "alive" && m.Trusted != nil && m.Trusted.By == "token" {
				return err
			}
		}
		return fmt.Errorf("%s is not there by its token: %+v, %v", n.Name, s.Members, err)
	})
	lab.Eventually(t, 10*time.Second, func() error {
		if out := seed.Must("token", "list").Out; !strings.Contains(out, "(expired)") {
			return fmt.Errorf("the brief token still holds:\n%s", out)
		}
		return nil
	})
	for name, bad := range map[string]struct{ token, why string }{
		"used":     {token, "has been used"},
		"expired":  {brief, "has expired"},
		"mistyped": {token[:51], "copied whole"},
	} {
		begun := time.Now()
		code, out, err := start(bad.token).Exited(10 * time.Second)
		if err != nil {
			t.Fatal(name, err)
		}
		oneLine(t, code, out, bad.why)
		measured(t, 33, "a token that is %s: ended after %.1f s", name, time.Since(begun).Seconds())
	}
}

// pidsOf are the processes of the workers, by node.
func pidsOf(t *testing.T, n *lab.Node) map[string]int {
	t.Helper()
	workers, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	for _, w := range workers {
		out[w.Node+"/"+w.App+"/"+w.Worker] = w.PID
	}
	return out
}

// otherKey replaces the cluster key while clients come in at every server, and pass from one to another. The old one is of no use then.
func otherKey(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	t.Helper()
	c := l.Client(true)
	done := make(chan struct{})
	var served atomic.Int64
	var clients sync.WaitGroup
	for _, n := range nodes {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := lab.Many(c, n.URL(3000, "/?ms=2"), 40, 4); err != nil {
					t.Errorf("while the key was replaced: %v", err)
					return
				}
				served.Add(40)
			}
		})
	}
	ready(t, nodes[1], 4, 20*time.Second) // the server that came by a token is the last
	before := pidsOf(t, nodes[1])
	begun := time.Now()
	const times = 10
	for i := range times {
		if r := nodes[i%len(nodes)].Run("key", "rotate"); r.Code != 0 {
			t.Errorf("key rotate: exit %d, %s", r.Code, r.Err)
		}
	}
	took := time.Since(begun)
	close(done)
	clients.Wait()
	measured(t, 59, "%d new keys in %.2f s, %d requests meanwhile, none failed: %v", times, took.Seconds(), served.Load(), !t.Failed())
	if after := pidsOf(t, nodes[1]); !maps.Equal(before, after) {
		t.Errorf("workers were replaced: %v, then %v", before, after)
	}
	nodes[1].Must("reload", "web")                           // new workers open the secret variable with the new key
	late := l.AddHost().Start("-join", l.Host(1).IP+":7946") // with the old key
	code, out, err := late.Exited(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	oneLine(t, code, out, "another cluster key")
	l.Key = ""
	down := nodes[2]
	down.Kill()
	lab.Eventually(t, 20*time.Second, func() error { // once the others agree that it is down
		if r := nodes[1].Run("key", "rotate"); r.Code != 2 || !strings.Contains(r.Err, "while servers are down: "+down.Name) {
			return fmt.Errorf("key rotate while a server is down: exit %d, %s", r.Code, r.Err)
		}
		return nil
	})
	down.Restart()
	lab.Eventually(t, 20*time.Second, func() error { // what was begun until then goes on
		if r := nodes[1].Run("key", "rotate"); r.Code != 0 {
			return fmt.Errorf("key rotate: exit %d, %s", r.Code, r.Err)
		}
		return nil
	})
	if _, err := lab.Get(c, down.URL(3000, "/")); err != nil {
		t.Error(err)
	}
}
