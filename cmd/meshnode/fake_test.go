package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("%s (-want +got):\n%s", path, d)
	}
}

// fakeNode is the backend of a node whose answers a test sets.
type fakeNode struct {
	mu       sync.Mutex
	status   api.Status
	workers  []api.WorkerStatus
	apps     map[string]api.Description
	progress []api.Progress // one per look, the last one again and again
	lines    []api.LogLine
	releases []api.Release
	door
	fail error // answer of every change
	seen
	rescue
	left   func() // called when the node is told to leave
	looked func() // called at every look at the progress
}

// door is who waits before it, and what lets others in.
type door struct {
	waiting []api.Admission
	tokens  []api.Token
}

// seen is what a fakeNode was asked.
type seen struct {
	looks   int
	waited  []uint64 // releases whose progress was asked for
	asked   []string
	started []api.StartRequest
}

// rescue is what a fakeNode answers on the day on which servers are lost.
type rescue struct {
	snapshot  api.Snapshot
	recovery  api.Recovery
	recovered []api.Recovery // one per look, the last one again and again
}

func (f *fakeNode) Snapshot(context.Context) (api.Snapshot, error) { return f.snapshot, nil }

func (f *fakeNode) Recover(_ context.Context, r api.RecoverRequest) (api.Recovery, error) {
	f.note("recover", strings.Join(r.Lost, ","), fmt.Sprint(r.DryRun))
	return f.recovery, f.fail
}

func (f *fakeNode) Recovered(context.Context) (api.Recovery, error) {
	r := f.recovered[0]
	f.recovered = f.recovered[min(1, len(f.recovered)-1):]
	return r, nil
}

func (f *fakeNode) note(what ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.Join(what, " "))
}

func (f *fakeNode) Status(context.Context) (api.Status, error) { return f.status, nil }

func (f *fakeNode) Workers(_ context.Context, app string) ([]api.WorkerStatus, error) {
	var out []api.WorkerStatus
	for _, w := range f.workers {
		if app == "" || w.App == app {
			out = append(out, w)
		}
	}
	if app != "" && out == nil {
		return nil, api.Errorf(api.CodeNotFound, "", "there is no app %q; did you mean api?", app)
	}
	return out, nil
}

func (f *fakeNode) Explain(_ context.Context, q api.ExplainQuery) (api.Explanation, error) {
	f.note("explain", q.App, q.Node, q.Client, fmt.Sprint(q.Count))
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.UTC)
	here := api.Candidate{Node: "web-1", Here: true, Compared: true, State: "free", Workers: 2, Open: 7, Free: -1, Service: 0.0102, Expected: 0.0402}
	b := api.Candidate{Node: "web-2", Compared: true, State: "free", Workers: 4, Open: 1.63, Long: 2, Free: 5, Service: 0.0098, Expected: 0.01, Age: 0.023}
	e := api.Explanation{App: q.App, Node: "web-1", Policy: "least_load", Direct: 3, Next: api.Decision{Time: at, Kind: api.PlacedThere, Target: "web-2",
		Reason: "there it is served sooner by more than the way (420µs) and the margin (2.5ms)", Median: 0.01, Hop: 0.00042, Margin: 0.0025, ZoneMargin: 0.01, Waiting: 1,
		Considered: []api.Candidate{here, b, {Node: "web-3", State: "ejected", Ejected: 0.7, OtherZ: true, Workers: 2, Free: -1, Expected: 0.01, Age: 0.4}, {Node: "web-4", State: "no worker", Age: 0.05}}}}
	e.Last = []api.Decision{
		{Time: at, Kind: api.PlacedHere, Target: "api/0#7", Reason: "a worker here is idle, and this node is no slower than most", Considered: []api.Candidate{here}},
		{Time: at, Kind: api.PlacedThere, Target: "web-2", Reason: "no worker here could take it", Considered: []api.Candidate{{Here: true, State: "blocked"}, b}},
		{Time: at, Kind: api.PlacedNowhere, Reason: "no worker is ready, here or on any node that is heard"},
	}
	return e, nil
}

func (f *fakeNode) Describe(_ context.Context, app string) (api.Description, error) {
	d, ok := f.apps[app]
	if !ok {
		return d, api.Errorf(api.CodeNotFound, "", "there is no app %q; did you mean api?", app)
	}
	return d, nil
}

func (f *fakeNode) Progress(_ context.Context, app string, release uint64) (api.Progress, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waited = append(f.waited, release)
	if f.looked != nil {
		f.looked()
	}
	if len(f.progress) == 0 {
		return api.Progress{App: app, Release: release, Done: true}, nil
	}
	p := f.progress[min(f.looks, len(f.progress)-1)]
	f.looks++
	p.App, p.Release = app, release
	return p, nil
}

func (f *fakeNode) Leave(context.Context) error {
	f.note("leave")
	if f.left != nil {
		f.left()
	}
	return f.fail
}

func (f *fakeNode) ForceLeave(_ context.Context, node string) error {
	f.note("force-leave", node)
	return f.fail
}

func (f *fakeNode) Set(_ context.Context, values map[string]string) (api.Change, error) {
	if f.status.Settings == nil {
		f.status.Settings = map[string]string{}
	}
	maps.Copy(f.status.Settings, values)
	return f.change("", "set")
}

func (f *fakeNode) change(app string, what ...string) (api.Change, error) {
	f.note(what...)
	return api.Change{App: app, Index: 7, Release: 3}, f.fail
}

func (f *fakeNode) Start(_ context.Context, r api.StartRequest) (api.Change, error) {
	f.mu.Lock()
	f.started = append(f.started, r)
	f.mu.Unlock()
	return f.change(r.App.Name, "start", r.App.Name)
}

func (f *fakeNode) Reload(_ context.Context, name string, order spec.Order) (api.Change, error) {
	return f.change(name, strings.TrimSpace("reload "+name+" "+string(order)))
}

func (f *fakeNode) Stop(_ context.Context, name string) (api.Change, error) {
	return f.change(name, "stop", name)
}

func (f *fakeNode) Delete(_ context.Context, name string) (api.Change, error) {
	return f.change(name, "delete", name)
}

func (f *fakeNode) Scale(_ context.Context, name, workers string) (api.Change, error) {
	return f.change(name, "scale", name, workers)
}

// Kept takes what stands behind the prefix of a sealed value for the value.
func (f *fakeNode) Kept(_ context.Context, name string, values map[string]string) ([]string, error) {
	var out []string
	for k, v := range values {
		if f.apps[name].App.Process.SecretEnv[k] == spec.SealedPrefix+v {
			out = append(out, k)
		}
	}
	return out, nil
}

func (f *fakeNode) Releases(_ context.Context, app string) ([]api.Release, error) {
	if _, ok := f.apps[app]; !ok {
		return nil, api.Errorf(api.CodeNotFound, "", "there is no app %q; did you mean api?", app)
	}
	return f.releases, nil
}

func (f *fakeNode) Rollback(_ context.Context, app string, release uint64) (api.Change, error) {
	return f.change(app, fmt.Sprintf("rollback %s %d", app, release))
}

func (f *fakeNode) Logs(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	for _, line := range f.lines {
		if q.Stream != "" && line.Stream != q.Stream || len(q.Apps) > 0 && !slices.Contains(q.Apps, line.App) {
			continue
		}
		if err := emit(line); err != nil {
			return err
		}
	}
	return nil
}

func (f *fakeNode) Admissions(context.Context) ([]api.Admission, error) { return f.waiting, nil }

func (f *fakeNode) Admit(_ context.Context, code string) (api.Admission, error) {
	f.note("admit", code)
	return api.Admission{Node: "web-4", Addr: "10.0.0.4", Via: "web-1"}, f.fail
}

func (f *fakeNode) LocalAdmissions(context.Context) ([]api.Admission, error) { return nil, nil }

func (f *fakeNode) LocalAdmit(context.Context, api.AdmitOrder) (api.Admission, error) {
	return api.Admission{}, nil
}

func (f *fakeNode) Tokens(context.Context) ([]api.Token, error) { return f.tokens, nil }

func (f *fakeNode) CreateToken(_ context.Context, r api.TokenRequest) (api.NewToken, error) {
	f.note("token", fmt.Sprint(r))
	at := time.Date(2026, 3, 4, 6, 6, 7, 0, time.UTC)
	return api.NewToken{Token: api.Token{ID: "3f2a9c1e", Expires: at, Uses: r.Uses}, Text: "mt1-test", Join: "10.0.0.1:7946"}, f.fail
}

func (f *fakeNode) RevokeToken(_ context.Context, id string) error {
	f.note("revoke", id)
	return f.fail
}

func (f *fakeNode) RotateKey(_ context.Context, force bool) (api.Rotation, error) {
	f.note("rotate", fmt.Sprint(force))
	r := api.Rotation{Key: "aa", Nodes: []string{"web-1", "web-3"}}
	if force {
		r.Left, r.Operators = []string{"web-2"}, []string{"deploy"}
	}
	return r, f.fail
}

func (f *fakeNode) LeadRotation(context.Context, bool) (api.Rotation, error) {
	return api.Rotation{}, nil
}

func (f *fakeNode) KeyState(context.Context) (api.KeyState, error) { return api.KeyState{}, nil }

func (f *fakeNode) StepKey(context.Context, api.KeyStep) error { return nil }

func (f *fakeNode) Tend(_ context.Context, o api.Order) ([]api.OrderAnswer, error) {
	f.note(strings.TrimSpace(o.What+" "+o.Signal), o.App)
	return []api.OrderAnswer{{Node: "web-1"}, {Node: "web-2", Error: "no answer"}}, f.fail
}

// terminal is a console of a test, with what it printed.
type terminal struct {
	*console
	out, errs *bytes.Buffer
	server    *api.Server
	served    chan error
}

// offline returns a terminal on a server where no node runs. Its folder is new and empty.
func offline(t *testing.T) *terminal {
	t.Helper()
	dir := t.TempDir()
	out, errs := &bytes.Buffer{}, &bytes.Buffer{}
	return &terminal{out: out, errs: errs, console: &console{
		in: strings.NewReader(""), out: out, errs: errs, dir: dir, poll: time.Millisecond, version: "v1.2.3",
		environ: []string{"HOME=" + dir, "MESHNODE_ADDR=" + filepath.Join(dir, "s"), "PATH=" + filepath.Join(dir, "bin")},
		runNode: func(context.Context, config.Settings, nodeOptions) error { return errors.New("no node in this test") },
		newKey:  func() (string, error) { return "mk1-test", nil },
	}}
}

// online returns a terminal on a server whose node answers as f does.
func online(t *testing.T, f *fakeNode) *terminal {
	t.Helper()
	term := offline(t)
	l, err := net.Listen("unix", filepath.Join(term.dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	term.server = api.NewServer(api.Options{Cluster: f, Members: f, Apps: f, Releases: f, Rescue: f, Logs: f, Explains: f, Door: api.Door{Admissions: f, Tokens: f, Keys: f}, Local: true,
		Access: api.Access{Audits: accessOf{f}, Operators: accessOf{f}}})
	term.served = make(chan error, 1)
	go func() { term.served <- term.server.Serve(l) }()
	t.Cleanup(func() {
		term.server.Close()
		if err := <-term.served; err != nil {
			t.Error(err)
		}
	})
	return term
}

// run carries out a command line, given as words between spaces.
func (term *terminal) run(t *testing.T, line string) int {
	t.Helper()
	term.out.Reset()
	term.errs.Reset()
	return term.execute(t.Context(), strings.Fields(line))
}

// expect runs a command line and compares all that comes out.
func (term *terminal) expect(t *testing.T, line string, code int, out, errs string) {
	t.Helper()
	if got := term.run(t, line); got != code {
		t.Errorf("meshnode %s: exit code %d, want %d", line, got, code)
	}
	if d := cmp.Diff(out, term.out.String()); d != "" {
		t.Errorf("meshnode %s: standard output (-want +got):\n%s", line, d)
	}
	if d := cmp.Diff(errs, term.errs.String()); d != "" {
		t.Errorf("meshnode %s: standard error (-want +got):\n%s", line, d)
	}
}

// touch makes files in the terminal's folder; a name that ends in "*" is made executable, without the star.
func (term *terminal) touch(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		name, program := strings.CutSuffix(name, "*")
		path, mode := filepath.Join(term.dir, name), os.FileMode(0o644)
		if program {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
}
