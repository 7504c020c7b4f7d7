package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"meshnode/store/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOperatorRoutes(t *testing.T) {
	f := newFake()
	f.status = Status{Cluster: "c", Leader: "a", Quorum: true, Index: 9, Members: []MemberStatus{{Node: "a", Load: 0.25}}, Apps: []AppStatus{{App: "api"}}}
	f.workers = []WorkerStatus{{App: "api", Worker: "0", PID: 12, CPU: 3.5}}
	f.description = Description{App: spec.App{Name: "api", Command: []string{"node"}}, Nodes: []NodeWorkers{{Node: "a"}}}
	f.progress = Progress{App: "api", Release: 3, Done: true, Nodes: []NodeProgress{{Node: "a", State: StateDone}}}
	_, client, _ := serve(t, f, true)
	ctx := t.Context()
	request := StartRequest{App: spec.App{Name: "api", Command: []string{"node", "<x>"}, Dir: "/srv", Env: map[string]string{"A": "b"}}, Replace: true}
	changed := Change{App: "api", Index: 7, Release: 3}
	for _, c := range []struct {
		asked any
		want  any
		call  func() (any, error)
	}{
		{"status", f.status.filled(), func() (any, error) { return client.Status(ctx) }},
		{"workers ", f.workers, func() (any, error) { return client.Workers(ctx, "") }},
		{"workers api", f.workers, func() (any, error) { return client.Workers(ctx, "api") }},
		{ExplainQuery{App: "api", Node: "b", Client: "10.1.2.3", Count: 3}, Explanation{App: "api", Last: []Decision{}}, func() (any, error) {
			return client.Explain(ctx, ExplainQuery{App: "api", Node: "b", Client: "10.1.2.3", Count: 3})
		}},
		{"describe api", f.description.filled(), func() (any, error) { return client.Describe(ctx, "api") }},
		{Change{App: "api", Release: 3}, f.progress, func() (any, error) { return client.Progress(ctx, "api", 3) }},
		{request, changed, func() (any, error) { return client.Start(ctx, request) }},
		{"reload api stop-first", changed, func() (any, error) { return client.Reload(ctx, "api", spec.OrderStopFirst) }},
		{"reload api ", changed, func() (any, error) { return client.Reload(ctx, "api", "") }},
		{"stop api", changed, func() (any, error) { return client.Stop(ctx, "api") }},
		{"delete api", changed, func() (any, error) { return client.Delete(ctx, "api") }},
		{"scale api +1", changed, func() (any, error) { return client.Scale(ctx, "api", "+1") }},
		{"releases api", []Release{{Release: 3, State: ReleaseServing, Changed: []string{}}}, func() (any, error) { return client.Releases(ctx, "api") }},
		{Change{App: "api", Release: 2}, changed, func() (any, error) { return client.Rollback(ctx, "api", 2) }},
		{"flush api ", []OrderAnswer{{Node: "a", Error: "disk"}}, func() (any, error) { return client.Tend(ctx, Order{What: OrderFlush, App: "api"}) }},
		{map[string]string{"forward": "plain"}, changed, func() (any, error) { return client.Set(ctx, map[string]string{"forward": "plain"}) }},
		{"admissions", []Admission{}, func() (any, error) { return client.Admissions(ctx) }},
		{"admit ABCD-EFGH-JKLM", Admission{Node: "d"}, func() (any, error) { return client.Admit(ctx, "ABCD-EFGH-JKLM") }},
		{"snapshot", Snapshot{Index: 7, State: []byte{0, 255}}, func() (any, error) { return client.Snapshot(ctx) }},
		{RecoverRequest{Lost: []string{"b"}, DryRun: true}, Recovery{Node: "a", Voters: 3}.filled(), func() (any, error) {
			return client.Recover(ctx, RecoverRequest{Lost: []string{"b"}, DryRun: true})
		}},
		{"recovered", Recovery{Node: "a", Running: true}.filled(), func() (any, error) { return client.Recovered(ctx) }},
		{"tokens", []Token{}, func() (any, error) { return client.Tokens(ctx) }},
		{TokenRequest{Seconds: 60, Uses: 2}, NewToken{Token: Token{ID: "1"}, Text: "mt1-x"}, func() (any, error) {
			return client.CreateToken(ctx, TokenRequest{Seconds: 60, Uses: 2})
		}},
		{"revoke a/b", nil, func() (any, error) { return nil, client.RevokeToken(ctx, "a/b") }},
		{"rotate true", Rotation{Key: "k", Nodes: []string{}, Left: []string{}, Operators: []string{}}, func() (any, error) { return client.RotateKey(ctx, true) }},
		{"leave", nil, func() (any, error) { return nil, client.Leave(ctx) }},
	} {
		got, err := c.call()
		if err != nil {
			t.Errorf("%v: %v", c.asked, err)
			continue
		}
		if d := cmp.Diff(c.asked, asked(t, f)); d != "" {
			t.Errorf("asked (-want +got):\n%s", d)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%v: answer (-want +got):\n%s", c.asked, d)
		}
	}
}

func TestPeerRoutes(t *testing.T) {
	f := newFake()
	f.hello = Hello{Node: "b", Protocol: 1, Configured: true}
	f.local = LocalStatus{Member: MemberStatus{Node: "b"}, Progress: map[string]NodeProgress{"api": {Ready: 2, Want: 4}}}
	_, client, path := serve(t, f, false)
	ctx := t.Context()
	got, err := client.Hello(ctx, Hello{Node: "a", Fresh: true})
	if err != nil || got != f.hello || asked(t, f) != (Hello{Node: "a", Fresh: true}) {
		t.Errorf("hello: %+v, %v", got, err)
	}
	index, err := client.Apply(ctx, []byte{0, 255, 10})
	if err != nil || index != 42 || asked(t, f) != "\x00\xff\n" {
		t.Errorf("apply: %d, %v", index, err)
	}
	local, err := client.LocalStatus(ctx)
	if d := cmp.Diff(f.local, local); d != "" || err != nil {
		t.Errorf("local status: %v\n%s", err, d)
	}
	asked(t, f)
	if err := client.TendLocal(ctx, Order{What: OrderSignal, Signal: "SIGHUP"}); err != nil || asked(t, f) != "signal  SIGHUP" {
		t.Errorf("signal: %v", err)
	}
	if list, err := client.LocalAdmissions(ctx); err != nil || len(list) != 1 || asked(t, f) != "local admissions" {
		t.Errorf("admissions: %v, %v", list, err)
	}
	if a, err := client.LocalAdmit(ctx, AdmitOrder{Code: "c", By: "a"}); err != nil || a.Node != "d" || asked(t, f) != (AdmitOrder{Code: "c", By: "a"}) {
		t.Errorf("admit: %v, %v", a, err)
	}
	if r, err := client.LeadRotation(ctx, true); err != nil || r.Key != "k" || asked(t, f) != "lead true" {
		t.Errorf("rotation: %v, %v", r, err)
	}
	if s, err := client.KeyState(ctx); err != nil || s.Key != "k" || asked(t, f) != "key state" {
		t.Errorf("key: %v, %v", s, err)
	}
	if step := (KeyStep{Step: KeyInstall, Key: "k", Text: "mk1-"}); client.StepKey(ctx, step) != nil || asked(t, f) != step {
		t.Error("a step")
	}
	if code, body := raw(t, path, "POST", "/peer/v1/key", `{"step":"install","key":"k","later":true}`); code != 400 {
		t.Errorf("a step that is not understood: %d %s", code, body)
	}
	// A newer node may say more than this one understands.
	if code, body := raw(t, path, "POST", "/peer/v1/hello", `{"node":"a","later":true}`); code != 200 || asked(t, f) != (Hello{Node: "a"}) {
		t.Errorf("newer hello: %d %s", code, body)
	}
}

// TestSides proves that neither side serves what is meant for the other.
func TestSides(t *testing.T) {
	_, operator, _ := serve(t, newFake(), true)
	_, peer, _ := serve(t, newFake(), false)
	for name, err := range map[string]error{
		"apply on the operator's side": second(operator.Apply(t.Context(), []byte("x"))),
		"status on the peers' side":    second(peer.Status(t.Context())),
		"logs on the peers' side":      peer.Logs(t.Context(), LogQuery{}, nil),
	} {
		if CodeOf(err) != CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestErrorsTravel(t *testing.T) {
	for _, c := range []struct {
		from error
		want *Error
		code int
	}{
		{Errorf(CodeNotFound, "", "there is no app %q; did you mean api?", "aip"), nil, 404},
		{Errorf(CodeConflict, "use reload", "there is an app api already"), nil, 409},
		{Errorf(CodeNoQuorum, "bring back a voter", "no quorum"), nil, 503},
		{Errorf(CodeNotLeader, "", "ask a"), nil, 421},
		{Errorf(CodeInvalid, "", "bad"), nil, 400},
		{Errorf(CodeGivenUp, "", "gone"), nil, 409},
		{Errorf(CodeUnavailable, "", "starting"), nil, 503},
		{Errorf(CodeFailed, "", "broke"), nil, 500},
		{fmt.Errorf("propose: %w", Errorf(CodeConflict, "", "changed")), Errorf(CodeConflict, "", "changed"), 409},
		{errors.New("disk full"), Errorf(CodeFailed, "", "disk full"), 500},
		{fmt.Errorf("apply: %w", context.DeadlineExceeded), Errorf(CodeUnavailable, "try again", "the node did not answer in time"), 503},
	} {
		f := newFake()
		f.err = c.from
		_, client, path := serve(t, f, true)
		_, err := client.Stop(t.Context(), "api")
		want := c.want
		if want == nil {
			errors.As(c.from, &want)
		}
		var got *Error
		if !errors.As(err, &got) || *got != *want {
			t.Errorf("%v: got %v", c.from, err)
		}
		if code, _ := raw(t, path, "POST", "/v1/apps/api/stop", ""); code != c.code {
			t.Errorf("%v: HTTP status %d, want %d", c.from, code, c.code)
		}
	}
}

func TestErrorText(t *testing.T) {
	if got := Errorf(CodeFailed, "do that", "it is %d", 1).Error(); got != "it is 1; do that" {
		t.Error(got)
	}
	if got := Errorf(CodeFailed, "", "it is").Error(); got != "it is" {
		t.Error(got)
	}
	if CodeOf(errors.New("x")) != "" || CodeOf(nil) != "" {
		t.Error("a code of nothing")
	}
}

func TestRefusedRequests(t *testing.T) {
	f := newFake()
	_, _, path := serve(t, f, true)
	for _, c := range []struct {
		name, method, path, body string
		code                     int
		says                     string
	}{
		{"unknown field", "POST", "/v1/apps", `{"app":{"name":"a","comand":["x"]}}`, 400, "comand"},
		{"two values", "POST", "/v1/apps", `{} {}`, 400, "more than one value"},
		{"no body", "POST", "/v1/apps", "", 400, "no body"},
		{"no JSON", "POST", "/v1/apps/api/scale", "four", 400, "not understood"},
		{"too large", "POST", "/v1/apps", `{"app":{"name":"` + strings.Repeat("a", maxBody) + `"}}`, 400, "larger than"},
		{"all", "POST", "/v1/apps/all/stop", "", 400, "stands for every app"},
		{"bad name", "DELETE", "/v1/apps/-x", "", 400, "name"},
		{"no release", "GET", "/v1/apps/api/progress", "", 400, "release"},
		{"no route", "GET", "/v1/nothing", "", 404, "there is no route GET /v1/nothing"},
		{"bad method", "PUT", "/v1/status", "", 404, "there is no route PUT /v1/status"},
		{"bad lines", "GET", "/v1/logs?lines=x", "", 400, "not understood"},
		{"negative lines", "GET", "/v1/logs?lines=-1", "", 400, "not between"},
		{"bad pattern", "GET", "/v1/logs?grep=(", "", 400, "no regular expression"},
		{"bad since", "GET", "/v1/logs?since=never", "", 400, "not understood"},
		{"bad order", "POST", "/v1/orders/burn", "", 400, "nothing is known of"},
		{"bad stream", "GET", "/v1/logs?stream=both", "", 400, "there is no stream"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, body := raw(t, path, c.method, c.path, c.body)
			if code != c.code || !strings.Contains(body, c.says) {
				t.Errorf("%d %s", code, body)
			}
		})
	}
	if len(f.asked) != 0 {
		t.Errorf("the backend was asked: %v", <-f.asked)
	}
}

// raw sends one request by hand and returns the status and the body.
func raw(t *testing.T, path, method, target, body string) (int, string) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request, err := http.NewRequest(method, "http://node"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	go request.Write(c) // the answer may come before all of a large body is sent
	response, err := http.ReadResponse(bufio.NewReader(c), request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestListsAreNeverNull(t *testing.T) {
	f := newFake()
	f.status.Members = []MemberStatus{{Node: "a"}}
	f.status.Apps = []AppStatus{{App: "api"}}
	_, _, path := serve(t, f, true)
	for _, target := range []string{"/v1/status", "/v1/workers", "/v1/apps/api/progress?release=1"} {
		if code, body := raw(t, path, "GET", target, ""); code != 200 || strings.Contains(body, "null") {
			t.Errorf("%s: %d %s", target, code, body)
		}
	}
	if code, body := raw(t, path, "GET", "/v1/status", ""); code != 200 || !strings.Contains(body, `"tags":{}`) || !strings.Contains(body, `"listen":[]`) {
		t.Errorf("%d %s", code, body)
	}
}

func TestClientOfSomethingElse(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	other := &http.Server{Handler: http.NotFoundHandler()}
	served := make(chan struct{})
	go func() { defer close(served); other.Serve(l) }()
	client := NewClient(func(context.Context) (net.Conn, error) { return net.Dial("unix", l.Addr().String()) })
	_, err = client.Status(t.Context())
	if CodeOf(err) != CodeFailed || !strings.Contains(err.Error(), "is another program answering") {
		t.Error(err)
	}
	client.Close()
	other.Close()
	<-served
}

func TestDialErrorIsKept(t *testing.T) {
	lost := errors.New("nobody home")
	client := NewClient(func(context.Context) (net.Conn, error) { return nil, lost })
	if _, err := client.Status(t.Context()); !errors.Is(err, lost) || strings.Contains(err.Error(), "http://") {
		t.Errorf("got %v", err)
	}
}

func TestNodeBreaksOff(t *testing.T) {
	const unknown = "may or may not have been done"
	for what, ask := range map[string]func(*Client) error{
		"a change":   func(c *Client) error { return c.Leave(t.Context()) },
		"a question": func(c *Client) error { _, err := c.Status(t.Context()); return err },
	} {
		here, there := net.Pipe()
		died := make(chan error, 1)
		go func() {
			_, err := http.ReadRequest(bufio.NewReader(there))
			there.Close()
			died <- err
		}()
		err := ask(NewClient(func(context.Context) (net.Conn, error) { return here, nil }))
		if err == nil || !strings.HasPrefix(err.Error(), "the node broke off without an answer") || CodeOf(err) != "" || strings.Contains(err.Error(), unknown) != (what == "a change") {
			t.Errorf("%s: got %v", what, err)
		}
		if err := <-died; err != nil {
			t.Error(err)
		}
	}
}

func TestCanceledCallEndsTheBackend(t *testing.T) {
	f := newFake()
	f.block = true
	_, client, _ := serve(t, f, true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second(client.Status(ctx)) }()
	asked(t, f)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	} // the cleanup's Close waits for the backend, which returns only because its context ended
}

func TestCloseEndsRequests(t *testing.T) {
	f := newFake()
	s, client, _ := serve(t, f, true)
	done := make(chan error, 1)
	go func() { done <- client.Logs(t.Context(), LogQuery{Follow: true}, nil) }()
	asked(t, f)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; CodeOf(err) != "" {
		t.Errorf("a stopped server reported %v", err)
	}
	if err := second(client.Status(t.Context())); err == nil {
		t.Error("a closed server answers")
	}
}

func TestTooManyConnections(t *testing.T) {
	refused := 0
	server, client := net.Pipe()
	l := &limitListener{Listener: &oneByOne{conns: make(chan net.Conn, 2)}, limit: &limit{most: 1, refused: func() { refused++ }}}
	in := l.Listener.(*oneByOne).conns
	silent, _ := net.Pipe()
	in <- silent
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	first, far := net.Pipe()
	in <- first
	held, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) || refused != 1 {
		t.Errorf("who says nothing does not give way: %v, %d refused", err, refused)
	}
	go func() { _, _ = io.Copy(io.Discard, far) }()
	if _, err := held.Write([]byte("an answer")); err != nil {
		t.Fatal(err)
	}
	in <- server
	answer := make(chan string)
	go func() {
		text, _ := io.ReadAll(client)
		answer <- string(text)
	}()
	accepted := make(chan net.Conn)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	if text := <-answer; !strings.HasPrefix(text, "HTTP/1.1 503") || !strings.Contains(text, CodeUnavailable) {
		t.Errorf("answer %q", text)
	}
	held.Close()
	held.Close() // twice gives one place back
	third, _ := net.Pipe()
	in <- third
	if c := <-accepted; c == nil || refused != 2 || l.limit.open != 1 {
		t.Errorf("conn %v, refused %d, in use %d", c, refused, l.limit.open)
	}
}

// oneByOne is a listener fed by a test.
type oneByOne struct {
	net.Listener
	conns chan net.Conn
}

func (l *oneByOne) Accept() (net.Conn, error) { return <-l.conns, nil }

func TestMetrics(t *testing.T) {
	sink := metrics.NewInmemSink(time.Hour, time.Hour)
	config := metrics.DefaultConfig("meshnode")
	config.EnableHostname, config.EnableRuntimeMetrics = false, false
	m, err := metrics.New(config, sink)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Shutdown()
	for _, name := range [][]string{metricRequests, metricErrors, metricRefused} {
		count(m, name)
		count(nil, name)
	}
	var text bytes.Buffer
	for name := range sink.Data()[0].Counters {
		fmt.Fprintln(&text, name)
	}
	for _, want := range []string{"meshnode.api.requests", "meshnode.api.errors", "meshnode.api.connections_refused"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s is missing in %s", want, text.String())
		}
	}
}
