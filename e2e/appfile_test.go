package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// PM2's users start what they have: an ecosystem.config.js with profiles, which the user's own Node.js evaluates. Changing the file and
// applying it replaces the workers without losing a request; what is unchanged keeps its processes.
func TestEcosystemFile(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	file := filepath.Join(t.TempDir(), "ecosystem.config.js")
	write := func(version string, more string) {
		t.Helper()
		text := fmt.Sprintf(`const path = require('path');
console.log('noise on standard output');
module.exports = {
  apps: [
    { name: 'web', script: path.relative(__dirname, %q), instances: 2, exec_mode: 'cluster', vizion: false, %s
      env: { APP_VERSION: 'development' }, env_production: { APP_VERSION: '%s' } },
    { name: 'job', script: 'sleep 1000 && true', namespace: 'batch' },
  ],
};
`, lab.App(t, "plain.js"), more, version)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	version := func() string {
		t.Helper()
		a, err := lab.Get(l.Client(true), n.URL(3000, "/"))
		if err != nil {
			t.Fatal(err)
		}
		return a.Version
	}
	write("one", "kill_timeout: 3000,")
	r := n.Must("start", file, "-env", "production")
	if got := version(); got != "one" || strings.Contains(r.Out, "noise") || !strings.Contains(r.Err, "vizion") {
		t.Errorf("version %q; %s%s", got, r.Out, r.Err)
	}
	processes := func(app string) string { return n.Must("pid", app).Out }
	web, job := processes("web"), processes("job")
	if r := n.Run("plan", file, "-env", "production"); r.Code != 0 {
		t.Errorf("plan of what runs: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	if n.Must("start", file, "-env", "production"); processes("web") != web {
		t.Error("starting an unchanged file replaced workers")
	}
	write("two", "")
	if r := n.Run("plan", file, "-env", "production"); r.Code != 2 || !strings.Contains(r.Out, "env.APP_VERSION") || !strings.Contains(r.Out, "timeouts.kill_seconds  3 -> 10") {
		t.Errorf("plan: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	load := lab.StartLoad(100, []*http.Client{l.Client(true), l.Client(false)}, []string{n.URL(3000, "/")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 50) })
	n.Must("apply", file, "-env", "production")
	total, failed, _ := load.Stop()
	t.Logf("apply: %d of %d requests lost", len(failed), total)
	for _, f := range failed {
		t.Error(f)
	}
	if got := version(); got != "two" || processes("web") == web || processes("job") != job {
		t.Errorf("version %q, processes %s, %s", got, processes("web"), processes("job"))
	}
	write("three", "instnces: 3,")
	if r := n.Run("apply", file); r.Code != 1 || !strings.Contains(r.Err, "app web: instnces: there is no such key; did you mean instances?") {
		t.Errorf("apply of a mistake: exit %d\n%s", r.Code, r.Err)
	}
	write("two", "")
	web = processes("web")
	if n.Must("reload", file, "-env", "production", "-only", "web"); processes("web") == web || version() != "two" {
		t.Error("reload of an unchanged file kept the workers")
	}
	n.Must("stop", "batch")
	if r := n.Must("list"); !strings.Contains(r.Out, "stopped") || !strings.Contains(r.Out, "batch") {
		t.Errorf("list:\n%s", r.Out)
	}
	n.Must("delete", file)
	if r := n.Must("list"); !strings.Contains(r.Out, "no apps yet") {
		t.Errorf("after delete:\n%s", r.Out)
	}
}
