package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// Who may do what, what is kept of it, and what nobody gets to read: on real nodes, over the socket and from elsewhere.
func TestWhoMayDoWhat(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	dir := t.TempDir()
	const secret = "s3cret-0f-the-app"
	file := filepath.Join(dir, "meshnode.yaml")
	text := fmt.Sprintf("apps:\n- script: %s\n  name: web\n  mode: port\n  port: 4000\n  instances: 1\n  env: { PLAIN: visible }\n  secret_env: { TOKEN: %s }\n", lab.App(t, "port.js"), secret)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	nodes[0].Must("apply", file)
	if out := nodes[0].Must("apply", file).Out; !strings.Contains(out, "unchanged") {
		t.Errorf("the same file again: %s", out)
	}
	nodes[0].Must("plan", file) // exit code 0: nothing would change
	nodes[1].Must("scale", "web", "2")
	if r := nodes[1].Run("scale", "nothing", "2"); r.Code != 1 {
		t.Errorf("an app that is not there: exit %d %s", r.Code, r.Err)
	}
	t.Run("audit", func(t *testing.T) { recorded(t, nodes) })
	t.Run("from elsewhere", func(t *testing.T) { fromElsewhere(t, l, nodes, dir) })
	t.Run("secrets", func(t *testing.T) { keptSecret(t, l, nodes, secret) })
	t.Run("another key", func(t *testing.T) { outlivesTheKey(t, nodes, secret, filepath.Join(dir, "admin.pem")) })
	nodes[0].Must("stop", "web")
}

// recorded looks at both nodes for what was asked of either.
func recorded(t *testing.T, nodes []*lab.Node) {
	for _, n := range nodes {
		var a api.Audit
		if err := json.Unmarshal([]byte(n.Must("audit", "-json").Out), &a); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range a.Entries {
			got = append(got, fmt.Sprintf("%s %s %s %s", e.Node, e.What, e.App, e.Outcome))
			if e.Caller.Via != api.ViaSocket || e.Caller.UID != os.Getuid() || e.Caller.PID == 0 || e.Time.IsZero() {
				t.Errorf("%s: %+v", n.Name, e)
			}
		}
		want := []string{"h1 start web ok", "h2 scale web ok", "h2 scale nothing not_found"}
		if !slices.Equal(got, want) || len(a.Missing) > 0 {
			t.Errorf("%s has %q, missing %v; want %q", n.Name, got, a.Missing, want)
		}
	}
	if out := nodes[0].Must("audit", "-n", "1").Out; strings.Count(out, "\n") != 2 || !strings.Contains(out, "scale nothing workers=2") {
		t.Errorf("the newest:\n%s", out)
	}
}

// fromElsewhere tries what a viewer, an admin, a revoked one and one without a certificate get at the peer port.
func fromElsewhere(t *testing.T, l *lab.Lab, nodes []*lab.Node, dir string) {
	door := nodes[0].IP + ":7946"
	remote := func(cert, verb string, args ...string) (int, string) {
		t.Helper()
		c := nodes[1].Command(lab.Binary(t), append([]string{verb, "-addr", door, "-cert", cert}, args...)...)
		out, err := c.CombinedOutput()
		if c.ProcessState == nil {
			t.Fatal(err)
		}
		return c.ProcessState.ExitCode(), string(out)
	}
	viewer, admin := filepath.Join(dir, "viewer.pem"), filepath.Join(dir, "admin.pem")
	nodes[1].Must("operator", "create", "vera", "-out", viewer)
	nodes[1].Must("operator", "create", "adam", "-role", "admin", "-ttl", "1h", "-out", admin)
	if info, err := os.Stat(admin); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the certificate's file: %v, %v", info, err)
	}
	for _, c := range []struct {
		code  int
		words string
		cert  string
		args  []string
	}{
		{0, "h2", viewer, []string{"status"}},
		{0, "web", viewer, []string{"list"}},
		{0, "PLAIN=(hidden)\nTOKEN=(secret)", viewer, []string{"env", "web"}},
		{0, "adam", viewer, []string{"operator", "list"}},
		{2, "vera has the role viewer", viewer, []string{"scale", "web", "1"}},
		{2, "vera has the role viewer", viewer, []string{"delete", "web"}},
		{0, "PLAIN=visible\nTOKEN=(secret)", admin, []string{"env", "web"}},
		{0, "web", admin, []string{"scale", "web", "1"}},
		{2, "on one of the servers", admin, []string{"operator", "create", "eve", "-out", filepath.Join(dir, "eve.pem")}},
		{0, "counts no more", admin, []string{"operator", "revoke", "vera"}},
	} {
		if code, out := remote(c.cert, c.args[0], c.args[1:]...); code != c.code || !strings.Contains(out, c.words) {
			t.Errorf("%v: exit %d, want %d and %q:\n%s", c.args, code, c.code, c.words, out)
		}
	}
	lab.Eventually(t, 5*time.Second, func() error { // h1 has heard of it
		if code, out := remote(viewer, "status"); code != 2 || !strings.Contains(out, "was revoked") {
			return fmt.Errorf("a revoked certificate: exit %d %s", code, out)
		}
		return nil
	})
	if out := nodes[1].Must("audit").Out; !strings.Contains(out, "adam (admin)") || !strings.Contains(out, "vera (viewer)") || !strings.Contains(out, "forbidden") {
		t.Errorf("audit:\n%s", out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	raw, err := l.DialContext(ctx, "tcp", door)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"meshnode-operator/1"}})
	if _, err = c.Write([]byte("GET /v1/status HTTP/1.1\r\nHost: node\r\n\r\n")); err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("without a certificate there is an answer")
	}
}

// having counts the workers that have the secret; none may have the cluster key.
func having(t *testing.T, workers []api.WorkerStatus, secret, key string) int {
	t.Helper()
	seen := 0
	for _, w := range workers {
		if w.PID == 0 {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(w.PID), "environ"))
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(env, []byte("TOKEN="+secret+"\x00")) {
			seen++
		}
		if bytes.Contains(env, []byte("MESHNODE_KEY")) || bytes.Contains(env, []byte(key)) {
			t.Errorf("the worker %d has the cluster key", w.PID)
		}
	}
	return seen
}

// outlivesTheKey replaces the cluster key: the workers stay, later ones get the secret all the same, and certificates of before count no more.
func outlivesTheKey(t *testing.T, nodes []*lab.Node, secret, admin string) {
	before, err := nodes[0].Workers()
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Must("key", "rotate")
	nodes[1].Must("scale", "web", "+1")
	after, err := nodes[1].Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range before {
		if !slices.ContainsFunc(after, func(x api.WorkerStatus) bool { return x.PID == w.PID && x.Node == w.Node && x.Release == w.Release }) {
			t.Errorf("%s/%s on %s, process %d, is not there any more", w.App, w.Worker, w.Node, w.PID)
		}
	}
	if seen := having(t, after, secret, "MESHNODE_KEY"); len(after) != len(before)+2 || seen != len(after) {
		t.Errorf("%d of %d workers have the secret, there were %d before", seen, len(after), len(before))
	}
	c := nodes[1].Command(lab.Binary(t), "status", "-addr", nodes[0].IP+":7946", "-cert", admin)
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "before its key was replaced") {
		t.Errorf("a certificate of before: %v %s", err, out)
	}
	if out := nodes[0].Must("operator", "list").Out; !strings.Contains(out, "there are no operators") {
		t.Errorf("operators: %s", out)
	}
}

// keptSecret looks for the secret value where it must be, in the workers, and everywhere else. The cluster key is looked for too.
func keptSecret(t *testing.T, l *lab.Lab, nodes []*lab.Node, secret string) {
	workers, err := nodes[0].Workers()
	if err != nil {
		t.Fatal(err)
	}
	if seen := having(t, workers, secret, l.Key); seen < 2 {
		t.Errorf("%d workers have the secret", seen)
	}
	for _, n := range nodes {
		for _, args := range [][]string{{"describe", "web", "-json"}, {"describe", "web"}, {"env", "web"}, {"env", "web", "-json"}, {"releases", "web", "-json"}, {"status", "-json"},
			{"audit", "-json"}, {"logs", "-lines", "1000"}, {"jlist"}} {
			if r := n.Must(args[0], args[1:]...); strings.Contains(r.Out+r.Err, secret) || strings.Contains(r.Out, "sealed:") {
				t.Errorf("%v on %s shows the secret:\n%s", args, n.Name, r.Out)
			}
		}
		if out := n.Output(); strings.Contains(out, secret) || strings.Contains(out, l.Key) {
			t.Errorf("%s has printed a secret:\n%s", n.Name, out)
		}
		err := filepath.WalkDir(n.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds the secret", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		for _, pid := range n.Processes() {
			if line, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline")); bytes.Contains(line, []byte(secret)) || bytes.Contains(line, []byte(l.Key)) {
				t.Errorf("the command line of %d holds a secret", pid)
			}
		}
	}
}
