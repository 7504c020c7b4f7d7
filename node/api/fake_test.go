package api

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"meshnode/store/spec"
)

// fake answers every backend method with what a test put into it, and keeps what it was asked.
type fake struct {
	status      Status
	workers     []WorkerStatus
	description Description
	progress    Progress
	local       LocalStatus
	hello       Hello
	lines       []LogLine
	err         error
	asked       chan any // buffered: what each call carried
	block       bool     // wait for the end of the context before answering
}

func newFake() *fake { return &fake{asked: make(chan any, 64)} }

func (f *fake) note(ctx context.Context, what any) error {
	f.asked <- what
	if f.block {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func (f *fake) Status(ctx context.Context) (Status, error) { return f.status, f.note(ctx, "status") }

func (f *fake) Workers(ctx context.Context, app string) ([]WorkerStatus, error) {
	return f.workers, f.note(ctx, "workers "+app)
}

func (f *fake) Describe(ctx context.Context, app string) (Description, error) {
	return f.description, f.note(ctx, "describe "+app)
}

func (f *fake) Progress(ctx context.Context, app string, release uint64) (Progress, error) {
	return f.progress, f.note(ctx, Change{App: app, Release: release})
}

func (f *fake) Explain(ctx context.Context, q ExplainQuery) (Explanation, error) {
	return Explanation{App: q.App}, f.note(ctx, q)
}

func (f *fake) ForceLeave(ctx context.Context, node string) error {
	return f.note(ctx, "force-leave "+node)
}

func (f *fake) Leave(ctx context.Context) error { return f.note(ctx, "leave") }

func (f *fake) Set(ctx context.Context, values map[string]string) (Change, error) {
	return f.change(ctx, values)
}

func (f *fake) change(ctx context.Context, what any) (Change, error) {
	return Change{App: "api", Index: 7, Release: 3}, f.note(ctx, what)
}

func (f *fake) Start(ctx context.Context, r StartRequest) (Change, error) { return f.change(ctx, r) }

func (f *fake) Reload(ctx context.Context, name string, order spec.Order) (Change, error) {
	return f.change(ctx, "reload "+name+" "+string(order))
}

func (f *fake) Stop(ctx context.Context, name string) (Change, error) {
	return f.change(ctx, "stop "+name)
}

func (f *fake) Delete(ctx context.Context, name string) (Change, error) {
	return f.change(ctx, "delete "+name)
}

func (f *fake) Scale(ctx context.Context, name, workers string) (Change, error) {
	return f.change(ctx, "scale "+name+" "+workers)
}

func (f *fake) Kept(ctx context.Context, name string, values map[string]string) ([]string, error) {
	return []string{"TOKEN"}, f.note(ctx, values)
}

func (f *fake) Releases(ctx context.Context, app string) ([]Release, error) {
	return []Release{{Release: 3, State: ReleaseServing}}, f.note(ctx, "releases "+app)
}

func (f *fake) Rollback(ctx context.Context, app string, release uint64) (Change, error) {
	return f.change(ctx, Change{App: app, Release: release})
}

func (f *fake) Snapshot(ctx context.Context) (Snapshot, error) {
	return Snapshot{Index: 7, State: []byte{0, 255}}, f.note(ctx, "snapshot")
}

func (f *fake) Recover(ctx context.Context, r RecoverRequest) (Recovery, error) {
	return Recovery{Node: "a", Voters: 3}, f.note(ctx, r)
}

func (f *fake) Recovered(ctx context.Context) (Recovery, error) {
	return Recovery{Node: "a", Running: true}, f.note(ctx, "recovered")
}

func (f *fake) Logs(ctx context.Context, q LogQuery, emit func(LogLine) error) error {
	f.asked <- q
	for _, line := range f.lines {
		if err := emit(line); err != nil {
			return err
		}
	}
	if q.Follow && f.err == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

func (f *fake) LocalLogs(ctx context.Context, q LogQuery, emit func(LogLine) error) error {
	return f.Logs(ctx, q, emit)
}

func (f *fake) Tend(ctx context.Context, o Order) ([]OrderAnswer, error) {
	return []OrderAnswer{{Node: "a", Error: "disk"}}, f.TendLocal(ctx, o)
}

func (f *fake) TendLocal(ctx context.Context, o Order) error {
	return f.note(ctx, o.What+" "+o.App+" "+o.Signal)
}

func (f *fake) Admissions(ctx context.Context) ([]Admission, error) {
	return nil, f.note(ctx, "admissions")
}

func (f *fake) Admit(ctx context.Context, code string) (Admission, error) {
	return Admission{Node: "d"}, f.note(ctx, "admit "+code)
}

func (f *fake) LocalAdmissions(ctx context.Context) ([]Admission, error) {
	return []Admission{{Node: "d"}}, f.note(ctx, "local admissions")
}

func (f *fake) LocalAdmit(ctx context.Context, o AdmitOrder) (Admission, error) {
	return Admission{Node: "d"}, f.note(ctx, o)
}

func (f *fake) Tokens(ctx context.Context) ([]Token, error) { return nil, f.note(ctx, "tokens") }

func (f *fake) CreateToken(ctx context.Context, r TokenRequest) (NewToken, error) {
	return NewToken{Token: Token{ID: "1"}, Text: "mt1-x"}, f.note(ctx, r)
}

func (f *fake) RevokeToken(ctx context.Context, id string) error { return f.note(ctx, "revoke "+id) }

func (f *fake) RotateKey(ctx context.Context, force bool) (Rotation, error) {
	return Rotation{Key: "k"}, f.note(ctx, fmt.Sprint("rotate ", force))
}

func (f *fake) LeadRotation(ctx context.Context, force bool) (Rotation, error) {
	return Rotation{Key: "k"}, f.note(ctx, fmt.Sprint("lead ", force))
}

func (f *fake) KeyState(ctx context.Context) (KeyState, error) {
	return KeyState{Key: "k"}, f.note(ctx, "key state")
}

func (f *fake) StepKey(ctx context.Context, s KeyStep) error { return f.note(ctx, s) }

func (f *fake) Hello(ctx context.Context, from Hello) (Hello, error) {
	return f.hello, f.note(ctx, from)
}

func (f *fake) Apply(ctx context.Context, command []byte) (uint64, error) {
	return 42, f.note(ctx, string(command))
}

func (f *fake) LocalStatus(ctx context.Context) (LocalStatus, error) {
	return f.local, f.note(ctx, "local status")
}

// serve starts a server of f on a Unix socket and returns it, a client of it, and the socket's path.
func serve(t *testing.T, f *fake, local bool) (*Server, *Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(Options{Cluster: f, Members: f, Apps: f, Releases: f, Rescue: f, Logs: f, Peer: f, Explains: f, Door: Door{Admissions: f, Tokens: f, Keys: f}, Local: local})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client := NewClient(func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	})
	t.Cleanup(func() {
		client.Close()
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s, client, path
}

// asked returns the next thing the backend was asked.
func asked(t *testing.T, f *fake) any {
	t.Helper()
	select {
	case what := <-f.asked:
		return what
	case <-time.After(10 * time.Second):
		t.Fatal("the backend was not asked")
		return nil
	}
}
