package api

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

// keeping is an audit log in memory, and a list of operators whose certificates count.
type keeping struct {
	mu      sync.Mutex
	entries []AuditEntry
	revoked map[string]bool
	asked   []AuditQuery
}

func (k *keeping) Record(e AuditEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.entries = append(k.entries, e)
}

func (k *keeping) Audit(_ context.Context, q AuditQuery) (Audit, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, q)
	return Audit{Entries: k.entries}, nil
}

func (k *keeping) LocalAudit(ctx context.Context, q AuditQuery) (Audit, error) {
	return k.Audit(ctx, q)
}

func (k *keeping) Known(_ context.Context, c Caller) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.revoked[c.Certificate] {
		return Errorf(CodeForbidden, "", "revoked")
	}
	return nil
}

func (k *keeping) Operators(context.Context) ([]Operator, error) { return nil, nil }

func (k *keeping) Create(_ context.Context, r OperatorRequest) (Operator, error) {
	return Operator{Name: r.Name, Role: r.Role, Bundle: "the private key"}, nil
}

func (k *keeping) Revoke(context.Context, string) (Change, error) { return Change{Index: 9}, nil }

func (k *keeping) revoke(name string, revoked bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.revoked[name] = revoked
}

func (k *keeping) all() []AuditEntry {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.entries)
}

// newest returns the last entry without what differs from run to run.
func (k *keeping) newest(t *testing.T) AuditEntry {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.entries) == 0 {
		t.Fatal("nothing was recorded")
	}
	e := k.entries[len(k.entries)-1]
	if e.Time.IsZero() {
		t.Error("an entry without a time")
	}
	e.Time = time.Time{}
	return e
}

// guarded serves f with an audit log, to whoever caller says; nil = the user of this test.
func guarded(t *testing.T, f *fake, caller *atomic.Pointer[Caller]) (*keeping, *Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeping{revoked: map[string]bool{}}
	o := Options{Cluster: f, Members: f, Apps: f, Releases: f, Rescue: f, Logs: f, Explains: f, Door: Door{Admissions: f, Tokens: f, Keys: f}, Upgrades: upgradesOf{f}, Local: true, Access: Access{Audits: k, Operators: k}}
	if caller != nil {
		o.Access.Caller = func(net.Conn) Caller { return *caller.Load() }
	}
	s := NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client := NewClient(func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", path) })
	t.Cleanup(func() {
		client.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return k, client, path
}

// upgradesOf answers for upgrades.
type upgradesOf struct{ f *fake }

func (u upgradesOf) Upgrade(ctx context.Context, path string) (Upgrade, error) {
	return Upgrade{Path: path}, u.f.note(ctx, path)
}

func (u upgradesOf) Outcome(ctx context.Context) (Upgrade, error) {
	return Upgrade{}, u.f.note(ctx, "")
}

func TestEveryChangeIsRecorded(t *testing.T) {
	f := newFake()
	k, client, _ := guarded(t, f, nil)
	ctx := t.Context()
	app := spec.App{Name: "api", Command: []string{"node"}, Env: map[string]string{"A": "visible"}, Process: spec.Process{SecretEnv: map[string]string{"TOKEN": "s3cret"}}}
	for _, c := range []struct {
		want AuditEntry
		call func() error
	}{
		{AuditEntry{Route: "POST /v1/apps", What: "start", App: "api"}, func() error { return second(client.Start(ctx, StartRequest{App: app})) }},
		{AuditEntry{Route: "POST /v1/apps/{app}/reload", What: "reload", App: "api", Args: map[string]string{"order": "stop-first"}},
			func() error { return second(client.Reload(ctx, "api", spec.OrderStopFirst)) }},
		{AuditEntry{Route: "POST /v1/apps/{app}/scale", What: "scale", App: "api", Args: map[string]string{"workers": "+1"}},
			func() error { return second(client.Scale(ctx, "api", "+1")) }},
		{AuditEntry{Route: "POST /v1/apps/{app}/stop", What: "stop", App: "api"}, func() error { return second(client.Stop(ctx, "api")) }},
		{AuditEntry{Route: "DELETE /v1/apps/{app}", What: "delete", App: "api"}, func() error { return second(client.Delete(ctx, "api")) }},
		{AuditEntry{Route: "POST /v1/apps/{app}/rollback", What: "rollback", App: "api", Args: map[string]string{"release": "2"}},
			func() error { return second(client.Rollback(ctx, "api", 2)) }},
		{AuditEntry{Route: "POST /v1/settings", What: "set", Args: map[string]string{"forward": "plain"}},
			func() error { return second(client.Set(ctx, map[string]string{"forward": "plain"})) }},
	} {
		c.want.Outcome, c.want.Index, c.want.Release = OutcomeOK, 7, 3
		c.want.Caller = Caller{Via: ViaSocket, UID: os.Getuid(), PID: os.Getpid()}.named()
		if err := c.call(); err != nil {
			t.Errorf("%s: %v", c.want.What, err)
			continue
		}
		if d := cmp.Diff(c.want, k.newest(t)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.want.What, d)
		}
	}
	if _, err := client.Tend(ctx, Order{What: OrderSignal, App: "api", Signal: "SIGHUP"}); err != nil {
		t.Error(err)
	}
	if e := k.newest(t); e.What != OrderSignal || e.App != "api" || e.Args["signal"] != "SIGHUP" || e.Index != 0 {
		t.Errorf("an order: %+v", e)
	}
	if _, err := client.CreateOperator(ctx, OperatorRequest{Name: "alice", Role: RoleViewer, TTL: 60}); err != nil {
		t.Error(err)
	}
	if e := k.newest(t); e.What != "operator create" || e.Args["operator"] != "alice" || e.Args["role"] != RoleViewer || e.Args["ttl"] != "1m0s" {
		t.Errorf("an operator: %+v", e)
	}
	if _, err := client.RevokeOperator(ctx, "alice"); err != nil {
		t.Error(err)
	}
	if e := k.newest(t); e.What != "operator revoke" || e.Args["operator"] != "alice" || e.Index != 9 {
		t.Errorf("an operator revoked: %+v", e)
	}
	for i, e := range k.all() {
		if text := cmp.Diff(AuditEntry{}, e); strings.Contains(text, "s3cret") || strings.Contains(text, "visible") || strings.Contains(text, "private key") {
			t.Errorf("entry %d holds what is secret:\n%s", i, text)
		}
	}
}

func TestWhatFailsIsRecordedToo(t *testing.T) {
	f := newFake()
	k, client, path := guarded(t, f, nil)
	f.err = Errorf(CodeNoQuorum, "bring back web-2", "there is no quorum")
	if err := second(client.Stop(t.Context(), "api")); CodeOf(err) != CodeNoQuorum {
		t.Error(err)
	}
	if e := k.newest(t); e.Outcome != CodeNoQuorum || e.Message != "there is no quorum; bring back web-2" || e.Index != 0 {
		t.Errorf("%+v", e)
	}
	f.err = nil
	for body, message := range map[string]string{
		`{"app":{"process":{"secret_env":{"TOKEN":31415926}}}}`: "the request is not understood", // the error itself repeats a number
		`{"secret":"s3cret"}`:               "the request is not understood",
		``:                                  "the request has no body",
		strings.Repeat(" ", maxBody) + "{}": "the request is larger than 1048576 bytes",
	} {
		if code, text := raw(t, path, "POST", "/v1/apps", body); code != 400 {
			t.Errorf("%.40q: %d %s", body, code, text)
		}
		if e := k.newest(t); e.Outcome != CodeInvalid || e.Message != message {
			t.Errorf("%.40q: %+v", body, e)
		}
	}
	before := len(k.all())
	raw(t, path, "POST", "/v1/nothing", "")
	if _, err := client.Kept(t.Context(), "api", map[string]string{"TOKEN": "s3cret"}); err != nil {
		t.Error(err)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Error(err)
	}
	if all := k.all(); len(all) != before {
		t.Errorf("what changes nothing is recorded: %+v", all[before:])
	}
}

func TestWhoIsBehindSudo(t *testing.T) {
	for _, c := range []struct{ text, self, want string }{
		{"4294967295\n", "0", ""}, {"0\n", "0", ""}, {"0\n", "1000", "root"}, {"4000000000\n", "0", "uid 4000000000"}, {"", "0", ""}, {"root", "0", ""}, {"-1", "0", ""},
	} {
		if got := loginOf(c.text, c.self); got != c.want {
			t.Errorf("%q, asked by %s: %q, want %q", c.text, c.self, got, c.want)
		}
	}
}

func TestNotes(t *testing.T) {
	Note(t.Context(), "key", "nobody keeps it")
	rec := &draft{}
	ctx := context.WithValue(t.Context(), recordKey{}, rec)
	for i := range 3 * maxArgs {
		Note(ctx, strings.Repeat("k", i+1), strings.Repeat("v", 5000))
	}
	Note(ctx, "k", "again")
	if len(rec.entry.Args) != maxArgs || rec.entry.Args["k"] != "again" || len(rec.entry.Args["kk"]) > 600 {
		t.Errorf("%d arguments, %d bytes", len(rec.entry.Args), len(rec.entry.Args["kk"]))
	}
}

// allRoutes are all operator's routes with a body that is understood.
func allRoutes() map[string]string {
	return map[string]string{
		"GET /v1/status": "", "GET /v1/workers": "", "GET /v1/apps/api": "", "GET /v1/apps/api/progress?release=1": "", "GET /v1/apps/api/releases": "",
		"GET /v1/apps/api/explain?count=1": "", "GET /v1/upgrade": "", "GET /v1/logs": "", "GET /v1/audit?lines=1": "", "GET /v1/operators": "",
		"POST /v1/leave": "", "POST /v1/settings": `{"values":{"forward":"tls"}}`, "POST /v1/upgrade": `{"path":"/x"}`, "POST /v1/apps": `{"app":{"name":"api"}}`,
		"POST /v1/apps/api/reload": `{}`, "POST /v1/apps/api/scale": `{"workers":"2"}`, "POST /v1/apps/api/stop": "", "DELETE /v1/apps/api": "",
		"POST /v1/apps/api/rollback": `{}`, "POST /v1/orders/flush": "", "POST /v1/apps/api/secrets": `{"values":{}}`,
		"POST /v1/operators": `{"name":"bob","role":"viewer","ttl_seconds":60}`, "DELETE /v1/operators/bob": "", "POST /v1/members/b/leave": "",
		"GET /v1/admissions": "", "POST /v1/admissions": `{"code":"x"}`,
		"GET /v1/tokens": "", "POST /v1/tokens": `{"seconds":60,"uses":1}`, "DELETE /v1/tokens/ab": "",
		"POST /v1/key/rotate": `{}`, "GET /v1/snapshot": "", "GET /v1/recover": "", "POST /v1/recover": `{"lost":["b"]}`,
	}
}

// onServers are the routes that nobody gets from elsewhere.
func onServers(route string) bool {
	return slices.Contains([]string{"POST /v1/operators", "GET /v1/admissions", "POST /v1/admissions", "GET /v1/snapshot", "GET /v1/recover", "POST /v1/recover",
		"GET /v1/tokens", "POST /v1/tokens", "DELETE /v1/tokens/ab", "POST /v1/key/rotate"}, route)
}

func TestRoles(t *testing.T) {
	f := newFake()
	f.asked = make(chan any, 4096)
	caller := &atomic.Pointer[Caller]{}
	k, client, path := guarded(t, f, caller)
	for _, c := range []struct {
		who     string
		caller  Caller
		revoked bool
		may     func(route string) bool
	}{
		{"the socket", Caller{Via: ViaSocket}, false, func(string) bool { return true }},
		{"an admin", Caller{Via: ViaRemote, Certificate: "alice", Role: RoleAdmin}, false, func(route string) bool { return !onServers(route) }},
		{"a viewer", Caller{Via: ViaRemote, Certificate: "alice", Role: RoleViewer}, false, func(route string) bool { return strings.HasPrefix(route, "GET ") && !onServers(route) }},
		{"a server", Caller{Via: ViaRemote, Certificate: "web-1", Role: "server"}, false, func(string) bool { return false }},
		{"one without a role", Caller{Via: ViaRemote, Certificate: "x"}, false, func(string) bool { return false }},
		{"nobody known", Caller{}, false, func(string) bool { return false }},
		{"an admin who was revoked", Caller{Via: ViaRemote, Certificate: "alice", Role: RoleAdmin}, true, func(string) bool { return false }},
	} {
		caller.Store(&c.caller)
		k.revoke("alice", c.revoked)
		client.Close() // a caller is told by his connection
		for route, body := range allRoutes() {
			method, target, _ := strings.Cut(route, " ")
			code, text := raw(t, path, method, target, body)
			if may := c.may(route); may != (code < 300) || !may && (code != http.StatusForbidden || !strings.Contains(text, CodeForbidden)) {
				t.Errorf("%s, %s: %d %s", c.who, route, code, text)
			}
		}
	}
	refused, all := 0, k.all()
	for _, e := range all {
		if e.Outcome == CodeForbidden {
			refused++
		}
	}
	if refused == 0 || refused > len(all)/2 {
		t.Errorf("%d of %d entries are refusals", refused, len(all))
	}
}

func TestRefusalsDoNotFloodTheLog(t *testing.T) {
	var r refusals
	now := time.Unix(1000, 0)
	for i := range 50 {
		if _, ok := r.pass(now.Add(time.Duration(i) * time.Millisecond)); ok != (i == 0) {
			t.Errorf("refusal %d: recorded %v", i, ok)
		}
	}
	if leftOut, ok := r.pass(now.Add(refusalPause)); !ok || leftOut != 49 {
		t.Errorf("later: %d left out, recorded %v", leftOut, ok)
	}
	if leftOut, ok := r.pass(now.Add(-time.Hour)); !ok || leftOut != 0 {
		t.Errorf("the clock was set back: %d, %v", leftOut, ok)
	}
}

// TestValuesAreHidden: nobody is told a secret value, and a viewer no value at all.
func TestValuesAreHidden(t *testing.T) {
	f := newFake()
	f.description.App = spec.App{Name: "api", Env: map[string]string{"A": "visible"}, Process: spec.Process{SecretEnv: map[string]string{"TOKEN": "sealed:v1:abc"}}}
	caller := &atomic.Pointer[Caller]{}
	_, client, _ := guarded(t, f, caller)
	for _, c := range []struct {
		caller Caller
		env    string
	}{{Caller{Via: ViaSocket}, "visible"}, {Caller{Via: ViaRemote, Role: RoleAdmin}, "visible"}, {Caller{Via: ViaRemote, Role: RoleViewer}, spec.Unseen}} {
		caller.Store(&c.caller)
		client.Close()
		d, err := client.Describe(t.Context(), "api")
		if err != nil || d.App.Env["A"] != c.env || d.App.Process.SecretEnv["TOKEN"] != spec.Masked {
			t.Errorf("%+v sees %v and %v, %v", c.caller, d.App.Env, d.App.Process.SecretEnv, err)
		}
	}
	if f.description.App.Env["A"] != "visible" || f.description.App.Process.SecretEnv["TOKEN"] != "sealed:v1:abc" {
		t.Error("the configuration itself was changed")
	}
}

func TestAuditQueries(t *testing.T) {
	k, client, path := guarded(t, newFake(), nil)
	since := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	a, err := client.Audit(t.Context(), AuditQuery{Lines: 7, Since: since})
	if err != nil || a.Entries == nil || a.Missing == nil {
		t.Errorf("%+v, %v", a, err)
	}
	if d := cmp.Diff([]AuditQuery{{Lines: 7, Since: since}}, k.asked); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
	for _, q := range []string{"", "lines=0", "lines=-1", "lines=10001", "lines=x", "lines=1&since=yesterday"} {
		if code, text := raw(t, path, "GET", "/v1/audit?"+q, ""); code != 400 {
			t.Errorf("%s: %d %s", q, code, text)
		}
	}
}

// TestEveryRouteIsThoughtOf: who gets it from elsewhere is decided for each route, and nothing is decided for routes that do not exist.
func TestEveryRouteIsThoughtOf(t *testing.T) {
	for _, pattern := range append(viewed(), changed()...) {
		method, path, _ := strings.Cut(pattern, " ")
		if slices.Contains(viewed(), pattern) != (method == http.MethodGet) {
			t.Errorf("%s: a viewer looks, and an admin changes", pattern)
		}
		found := false
		for route := range allRoutes() {
			m, target, _ := strings.Cut(route, " ")
			target, _, _ = strings.Cut(target, "?")
			found = found || m == method && sameShape(path, target)
		}
		if !found {
			t.Errorf("%s is tried by no test", pattern)
		}
	}
}

// sameShape reports whether a path is one of a pattern.
func sameShape(pattern, path string) bool {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	return len(p) == len(q) && !slices.ContainsFunc(p, func(part string) bool {
		i := slices.Index(p, part)
		return !strings.HasPrefix(part, "{") && part != q[i]
	})
}
