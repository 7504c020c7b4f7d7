package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// accessOf is the audit log of a fake node, and its operators.
type accessOf struct{ f *fakeNode }

func (a accessOf) Record(api.AuditEntry) {}

func (a accessOf) Audit(_ context.Context, q api.AuditQuery) (api.Audit, error) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return api.Audit{Missing: []api.Missing{{Node: "web-3", Why: "no answer"}}, Entries: []api.AuditEntry{
		{Time: at, Node: "web-1", Caller: api.Caller{Via: api.ViaSocket, UID: 0, User: "root", Login: "deploy", PID: 4711}, Route: "POST /v1/apps", What: "start", App: "api",
			Args: map[string]string{"changed": "command,env.A"}, Outcome: api.OutcomeOK, Index: 7, Release: 3},
		{Time: at.Add(time.Second), Node: "web-2", Caller: api.Caller{Via: api.ViaRemote, UID: -1, Certificate: "vera", Role: "viewer", From: "10.0.0.9:4000"},
			Route: "POST /v1/apps/{app}/scale", What: "scale", App: "api\x1b[2J", Args: map[string]string{"workers": "9"}, Outcome: api.CodeForbidden, Message: "no", LeftOut: 3},
		{Time: at.Add(2 * time.Second), Node: "web-1", Caller: api.Caller{Via: api.ViaSocket, UID: 7}, What: "leave", Outcome: api.OutcomeOK},
	}[:min(3, q.Lines)]}, nil
}

func (a accessOf) LocalAudit(ctx context.Context, q api.AuditQuery) (api.Audit, error) {
	return a.Audit(ctx, q)
}

func (a accessOf) Known(context.Context, api.Caller) error { return nil }

func (a accessOf) Operators(context.Context) ([]api.Operator, error) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return []api.Operator{{Name: "vera", Role: "viewer", Serial: "4a", Created: at, Expires: at.Add(time.Hour)}}, nil
}

func (a accessOf) Create(_ context.Context, r api.OperatorRequest) (api.Operator, error) {
	a.f.note("create", r.Name, r.Role, time.Duration(r.TTL*float64(time.Second)).String())
	return api.Operator{Name: r.Name, Role: r.Role, Serial: "4a", Expires: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Bundle: "the private key\n"}, a.f.fail
}

func (a accessOf) Revoke(_ context.Context, name string) (api.Change, error) {
	return a.f.change(name, "revoke", name)
}

func TestAudit(t *testing.T) {
	term := online(t, example())
	if code := term.run(t, "audit"); code != exitDone || term.errs.String() != "meshnode: web-3 has not answered, its entries are missing: no answer\n" {
		t.Errorf("exit code %d, %s", code, term.errs)
	}
	golden(t, "audit", term.out.String())
	if code := term.run(t, "audit -n 1 -since 1h -json"); code != exitDone {
		t.Errorf("exit code %d, %s", code, term.errs)
	}
	golden(t, "audit-json", term.out.String())
	if code := term.run(t, "audit -n 0"); code != exitRefused {
		t.Errorf("none: exit code %d, %s", code, term.errs)
	}
}

func TestOperator(t *testing.T) {
	f := example()
	term := online(t, f)
	term.expect(t, "operator create vera", exitDone, "vera.pem: viewer until 2026-03-04 05:06:07 UTC; keep it as you keep a password\n", "")
	file := filepath.Join(term.dir, "vera.pem")
	text, err := os.ReadFile(file)
	info, serr := os.Stat(file)
	if err != nil || serr != nil || string(text) != "the private key\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("%q, %v, %v", text, err, info)
	}
	if got := f.asked[len(f.asked)-1]; got != "create vera viewer 720h0m0s" {
		t.Errorf("asked %q", got)
	}
	term.expect(t, "operator create vera", exitFailed, "", "meshnode: vera.pem is there already; name another file with -out\nsee: meshnode help operator\n")
	term.expect(t, "operator create -role admin -ttl 8h -out - ci", exitDone, "the private key\n", "")
	if code := term.run(t, "operator create -json -out ci.pem ci"); code != exitDone || strings.Contains(term.out.String(), "private") {
		t.Errorf("exit code %d, %s", code, term.out)
	}
	term.expect(t, "operator list", exitDone,
		"NAME  ROLE    CREATED                  EXPIRES                  SERIAL\nvera  viewer  2026-03-04 05:06:07 UTC  2026-03-04 06:06:07 UTC  4a\n", "")
	term.expect(t, "operator revoke vera", exitDone, "vera: the certificate counts no more\n", "")
	usage := "see: meshnode help operator\n"
	say := "meshnode: say what: operator create <name>, operator list, or operator revoke <name>\n" + usage
	term.expect(t, "operator", exitFailed, "", say)
	term.expect(t, "operator creat vera", exitFailed, "", say)
	for _, line := range []string{"operator create", "operator revoke", "operator list vera"} {
		term.expect(t, line, exitFailed, "", "meshnode: operator create and revoke take one name, list takes none\n"+usage)
	}
	term.expect(t, "operator create -role rot x", exitFailed, "", "meshnode: -role: there is no \"rot\"; use one of viewer, admin\n"+usage)
	f.fail = api.Errorf(api.CodeForbidden, "do it there", "not from elsewhere")
	term.expect(t, "operator create x", exitRefused, "", "meshnode: not from elsewhere; do it there\n")
	if _, err := os.Stat(filepath.Join(term.dir, "x.pem")); err == nil {
		t.Error("a file was written for a certificate that was not made")
	}
}

func TestOtherServers(t *testing.T) {
	term := offline(t)
	term.touch(t, "bad.pem")
	for line, want := range map[string]string{
		"status -addr web-1:7946":                   "to talk to web-1:7946 a certificate is needed: have one made there with meshnode operator create, and name it with -cert\nsee: meshnode help status\n",
		"status -addr web-1:7946 -cert none.pem":    "read the certificate: open " + filepath.Join(term.dir, "none.pem") + ": no such file or directory\n",
		"status -addr web-1 -cert bad.pem":          "bad.pem: this is no operator's certificate with its private key, as meshnode operator create writes it\n",
		"kill -addr web-1:7946 -cert bad.pem":       "a node is ended on its own server; log in there, or take it out of the cluster with: meshnode leave\nsee: meshnode help kill\n",
		"status -addr unix:/x/y.sock -cert bad.pem": "-cert is for another server; name it: -addr web-1:7946\nsee: meshnode help status\n",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want)
	}
	for addr, want := range map[string]string{"web-1:7946": "web-1:7946", "[::1]:7946": "[::1]:7946", "x.sock": "", "/run/a:b/c.sock": "", "unix:x:1": "", "": ""} {
		if got := (&target{addr: addr}).remote(&console{}); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
	for addr, want := range map[string]string{"web-1": "web-1:7946", "10.0.0.1": "10.0.0.1:7946", "::1": "[::1]:7946", "[::1]": "[::1]:7946"} {
		if got := (&target{addr: addr, cert: "x"}).remote(&console{}); got != want {
			t.Errorf("%q: %q, want %q", addr, got, want)
		}
	}
}

func TestSecretVariables(t *testing.T) {
	f := example()
	term := online(t, f)
	term.touch(t, "server.js", "bin/node*")
	term.environ = append(term.environ, "FROM_HERE=taken=along")
	if code := term.run(t, "start -detach -n new -env A=b -secret-env TOKEN=s3cret -secret-env FROM_HERE server.js"); code != exitDone {
		t.Fatalf("exit code %d, %s", code, term.errs)
	}
	got := f.started[len(f.started)-1].App
	if got.Env["A"] != "b" || got.Process.SecretEnv["TOKEN"] != "s3cret" || got.Process.SecretEnv["FROM_HERE"] != "taken=along" || len(got.Process.SecretEnv) != 2 {
		t.Errorf("started with %v and %v", got.Env, got.Process.SecretEnv)
	}
	for line, want := range map[string]string{
		"start -n new -secret-env NOT_HERE server.js":          "-secret-env: there is no variable NOT_HERE in this environment whose value could be taken",
		"start -n new -secret-env =s3cret server.js":           "-secret-env: number 1 is not of the form NAME or NAME=value",
		"start -n new -env A=1 -secret-env A=s3cret server.js": "secret_env: A stands in env too, where anybody can read it",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help start\n")
	}
}

// TestSecretsInFiles: what a file says is compared with what there is, though nobody shows that.
func TestSecretsInFiles(t *testing.T) {
	f := example()
	term := online(t, f)
	term.touch(t, "server.js", "bin/node*")
	file := filepath.Join(term.dir, "meshnode.yaml")
	write := func(value string) {
		t.Helper()
		text := "apps:\n- script: server.js\n  name: sealed\n  secret_env: { TOKEN: " + value + " }\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret")
	if code := term.run(t, "apply -detach"); code != exitDone {
		t.Fatalf("exit code %d, %s", code, term.errs)
	}
	app := f.started[len(f.started)-1].App
	if app.Process.SecretEnv["TOKEN"] != "s3cret" {
		t.Fatalf("started with %v", app.Process.SecretEnv)
	}
	app.Process.SecretEnv = map[string]string{"TOKEN": spec.SealedPrefix + "s3cret"}
	f.apps["sealed"] = api.Description{App: app.WithDefaults()}
	f.status.Apps = append(f.status.Apps, api.AppStatus{App: "sealed"})
	if code := term.run(t, "apply -detach"); code != exitDone || !strings.Contains(term.out.String(), "sealed: unchanged") {
		t.Errorf("the same file: exit code %d, %s%s", code, term.out, term.errs)
	}
	if code := term.run(t, "plan"); code != exitDone {
		t.Errorf("plan of the same file: exit code %d, %s", code, term.out)
	}
	write("an0ther")
	if code := term.run(t, "plan"); code != exitRefused || !strings.Contains(term.out.String(), "process.secret_env.TOKEN") || strings.Contains(term.out.String(), "an0ther") {
		t.Errorf("plan of another value: exit code %d, %s", code, term.out)
	}
	if code := term.run(t, "apply -detach"); code != exitDone || f.started[len(f.started)-1].App.Process.SecretEnv["TOKEN"] != "an0ther" {
		t.Errorf("another value: exit code %d, %s", code, term.errs)
	}
	term.expect(t, "env sealed", exitDone, "TOKEN="+spec.Masked+"\n", "")
	for _, line := range []string{"describe sealed", "describe sealed -json"} {
		if code := term.run(t, line); code != exitDone || strings.Contains(term.out.String(), spec.SealedPrefix) || !strings.Contains(term.out.String(), "TOKEN") {
			t.Errorf("%s: exit code %d\n%s", line, code, term.out)
		}
	}
}
