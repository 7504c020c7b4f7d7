package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// answering is a response that takes deadlines, as one of a connection does.
type answering struct{ *httptest.ResponseRecorder }

func (answering) SetReadDeadline(time.Time) error  { return nil }
func (answering) SetWriteDeadline(time.Time) error { return nil }

// sent is a body that counts what was read of it: text, and then so many spaces.
type sent struct {
	text   string
	spaces int
	read   int
}

func (s *sent) Read(b []byte) (int, error) {
	n := copy(b, s.text)
	s.text = s.text[n:]
	for n < len(b) && s.spaces > 0 {
		b[n] = ' '
		n++
		s.spaces--
	}
	s.read += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// requestOf is a request to a route, with name for every open part of its path.
func requestOf(route, name, query string, body *sent) *http.Request {
	method, path, _ := strings.Cut(route, " ")
	for _, part := range []string{"{app}", "{order}", "{operator}"} {
		path = strings.ReplaceAll(path, part, name)
	}
	return &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{}, Body: io.NopCloser(body), ContentLength: -1, Host: "node"}
}

// answer has a request answered, and checks what holds for every one: no panic, no failure of the server's own, no more read than is allowed.
func answer(t *testing.T, s *Server, r *http.Request, body *sent) {
	t.Helper()
	w := answering{httptest.NewRecorder()}
	s.http.Handler.ServeHTTP(w, r)
	if w.Code >= 500 {
		t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if limit := maxBody + 1; body.read > limit {
		t.Errorf("%s %s: %d bytes were read, %d are allowed", r.Method, r.URL, body.read, limit)
	}
}

func fuzzed(f *testing.F, routes []string, server func(*fake) *Server, ctx func(context.Context) context.Context) {
	for i := range routes {
		f.Add(uint8(i), "api", "lines=1&release=1&count=1", `{}`, uint32(0))
	}
	for _, body := range []string{
		`{"app":{"name":"api","command":["node"],"dir":"/","env":{"A":"b"},"process":{"secret_env":{"T":"x"}},"timeouts":{"listen_seconds":1e999}},"replace":true}`,
		`{"order":"stop-first"}`, `{"workers":"+1"}`, `{"values":{"forward":"plain"}}`, `{"path":"/x"}`, `{"release":18446744073709551616}`, `{"name":"a","role":"viewer","ttl_seconds":1e308}`,
		`{"node":"a","id":"b","protocol":1}`, `[[[[[[[[`, `null`, "\xff\xfe", `{} {}`, strings.Repeat(`{"a":`, 20000), "\x02\x02\x00\x00\x00\x02\x00\x00\x00\x00{}",
	} {
		for i := range routes {
			f.Add(uint8(i), "api", "follow=true&grep=(&since=x", body, uint32(0))
		}
	}
	f.Add(uint8(0), "../x", "%zz=;&", "{", uint32(2<<20))
	f.Fuzz(func(t *testing.T, route uint8, name, query, body string, spaces uint32) {
		backend := newFake()
		if strings.Contains(routes[int(route)%len(routes)], "logs") {
			backend.err = Errorf(CodeConflict, "", "not now") // or it would be followed without end
		}
		s := server(backend)
		from := &sent{text: body, spaces: int(spaces % (3 << 20))}
		answer(t, s, requestOf(routes[int(route)%len(routes)], name, query, from).WithContext(ctx(t.Context())), from)
		if err := s.Close(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// FuzzOperatorBodies sends anything to every route of the operator's side, as somebody who may do everything.
func FuzzOperatorBodies(f *testing.F) {
	routes := []string{
		"POST /v1/apps", "POST /v1/settings", "POST /v1/upgrade", "POST /v1/apps/{app}/reload", "POST /v1/apps/{app}/scale", "POST /v1/apps/{app}/rollback",
		"POST /v1/apps/{app}/stop", "POST /v1/apps/{app}/secrets", "DELETE /v1/apps/{app}", "POST /v1/orders/{order}", "POST /v1/operators", "DELETE /v1/operators/{operator}", "POST /v1/admissions", "POST /v1/recover", "POST /v1/tokens", "POST /v1/key/rotate", "POST /v1/members/{app}/leave",
		"POST /v1/leave", "GET /v1/apps/{app}", "GET /v1/apps/{app}/progress", "GET /v1/apps/{app}/explain", "GET /v1/workers", "GET /v1/logs", "GET /v1/audit", "PUT /v1/{app}",
	}
	fuzzed(f, routes, func(b *fake) *Server {
		k := &keeping{}
		return NewServer(Options{Cluster: b, Members: b, Apps: b, Releases: b, Rescue: b, Logs: b, Explains: b, Door: Door{Admissions: b, Tokens: b, Keys: b}, Upgrades: upgradesOf{b}, Local: true, Access: Access{Audits: k, Operators: k}})
	}, func(ctx context.Context) context.Context {
		return context.WithValue(ctx, callerKey{}, Caller{Via: ViaSocket, UID: -1})
	})
}

// FuzzPeerBodies is the same for the peers' side.
func FuzzPeerBodies(f *testing.F) {
	routes := []string{"POST /peer/v1/hello", "POST /peer/v1/apply", "POST /peer/v1/orders/{order}", "GET /peer/v1/status", "GET /peer/v1/logs", "GET /peer/v1/audit",
		"GET /peer/v1/apps/{app}/explain", "POST /peer/v1/admissions", "POST /peer/v1/key", "POST /peer/v1/key/rotate", "POST /v1/apps"}
	fuzzed(f, routes, func(b *fake) *Server {
		return NewServer(Options{Peer: b, Explains: b, Door: Door{Admissions: b, Tokens: b, Keys: b}, Access: Access{Audits: &keeping{}}})
	}, func(ctx context.Context) context.Context { return ctx })
}
