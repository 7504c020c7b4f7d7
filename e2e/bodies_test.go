package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// realRequest is one that the control API takes, with a body.
type realRequest struct{ path, body string }

// realRequests are such as the verbs send.
func realRequests() []realRequest {
	return []realRequest{
		{"/v1/apps", `{"app":{"name":"other","command":["node","server.js"],"dir":"/no/such/folder","env":{"A":"b"},"workers":2,"mode":"port","listen":[":8080"],"timeouts":{"listen_seconds":30,` +
			`"drain_seconds":30,"kill_seconds":10},"order":"start-first","process":{"secret_env":{"T":"x"},"user":"nobody","limits":{"memory_bytes":1000000}},"restart":{"max":16,"min_uptime_seconds":1},` +
			`"health":{"path":"/ok","interval_seconds":5},"logs":{"keep":3},"balance":{"policy":"random","queue":7},"clients":{"connections":9}},"replace":true}`},
		{"/v1/apps/web/scale", `{"workers":"2"}`},
		{"/v1/apps/web/reload", `{"order":"stop-first"}`},
		{"/v1/apps/web/rollback", `{"release":1}`},
		{"/v1/apps/web/secrets", `{"values":{"A":"b"}}`},
		{"/v1/settings", `{"values":{"forward":"plain","idle_timeout":"1h"}}`},
		{"/v1/operators", `{"name":"eve","role":"admin","ttl_seconds":3600}`},
		{"/v1/tokens", `{"seconds":3600,"uses":1}`},
		{"/v1/admissions", `{"code":"2222-2222-2222"}`},
		{"/v1/key/rotate", `{"force":false}`},
		{"/v1/recover", `{"lost":["h2"],"dry_run":false}`},
		{"/v1/upgrade", `{"path":"/no/such/binary"}`},
	}
}

// mutation is a body that is wrong, and the word that the refusal has to hold.
type mutation struct{ body, word string }

// mutate spoils a body: a field of another name, a value of another kind, an end that is missing or too much, bytes that are no text.
func mutate(r *rand.Rand, body string) mutation {
	switch r.IntN(6) {
	case 0, 1, 2:
		var v map[string]any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			panic(err)
		}
		word := spoil(r, v)
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return mutation{string(raw), word}
	case 3:
		return mutation{body[:1+r.IntN(len(body)-1)], "unexpected EOF"}
	case 4:
		return mutation{body + []string{"{}", "]", "x", `"`, ",", "\x00"}[r.IntN(6)], "more than one value"}
	default:
		i := 1 + r.IntN(len(body)-1)
		return mutation{body[:i] + string([]byte{byte(r.IntN(0x20)), 0x01}) + body[i:], "invalid character"}
	}
}

// spoil gives a field, at whatever depth, another name or a value of a kind that it cannot have, and returns its name. What is inside a map of an app's own
// names has no wrong name, and is left.
func spoil(r *rand.Rand, v map[string]any) string {
	keys := slices.Sorted(maps.Keys(v))
	key := keys[r.IntN(len(keys))]
	free := key == "env" || key == "secret_env" || key == "values"
	if inner, ok := v[key].(map[string]any); ok && !free && r.IntN(4) > 0 {
		return spoil(r, inner)
	}
	if r.IntN(2) == 0 {
		wrong := key[:1] + "_" + key[1:]
		v[wrong] = v[key]
		delete(v, key)
		return wrong
	}
	switch v[key].(type) {
	case string:
		v[key] = []any{7, map[string]any{"a": "b"}, []any{1}, true}[r.IntN(4)]
	case bool:
		v[key] = []any{7, "true", []any{}}[r.IntN(3)]
	case float64:
		v[key] = []any{"7", true, []any{7}, json.RawMessage("1e400"), map[string]any{}}[r.IntN(5)]
	case []any:
		v[key] = []any{"x", 3, map[string]any{"a": 1}, []any{map[string]any{}}}[r.IntN(4)]
	default:
		v[key] = []any{"x", 3, []any{1}, true}[r.IntN(4)]
	}
	return key
}

// TestMalformedBodies sends bodies of real requests, each spoilt in another way, to the control socket of a server.
func TestMalformedBodies(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	n := nodes[0]
	n.Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, n, 2, 20*time.Second)
	served := loadOn(t, 50, l, nodes)
	before := state(t, nodes)
	socket := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(n.Dir, "meshnode.sock"))
	}}}
	r := rand.New(rand.NewPCG(7, 38))
	const total = 10000
	answers := make(map[int]int)
	wrong := 0
	refused := func(path string, m mutation) {
		code, e := post(t, socket, path, m.body)
		answers[code]++
		if code != http.StatusBadRequest || e.Code != api.CodeInvalid || !strings.Contains(e.Message, m.word) {
			if wrong++; wrong < 10 {
				t.Errorf("%s %q: %d %q, want 400 and %q", path, m.body[:min(len(m.body), 300)], code, e.Message, m.word)
			}
		}
	}
	requests := realRequests()
	begun := time.Now()
	for i := range total {
		request := requests[i%len(requests)]
		refused(request.path, mutate(r, request.body))
	}
	took := time.Since(begun)
	for _, request := range requests {
		refused(request.path, mutation{strings.Repeat(`{"a":`, 50000) + "1" + strings.Repeat("}", 50000), "depth"})
		refused(request.path, mutation{strings.Repeat("[", 1<<20), "depth"})
		refused(request.path, mutation{`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "larger than 1048576 bytes"})
		refused(request.path, mutation{"", "no body"})
	}
	if after := state(t, nodes); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if strings.Contains(n.Output(), "panic") {
		t.Error("there was a panic")
	}
	lost(t, "malformed bodies", served)
	measured(t, 38, "%d bodies of real requests spoilt, %.0f a second, and %d too large or too deep: answers %v, all but %d with the field or the reason; nothing changed, nothing lost",
		total, total/took.Seconds(), 4*len(requests), answers, wrong)
}

// post sends a body, and returns the status and what the API says is wrong.
func post(t *testing.T, c *http.Client, path, body string) (int, api.Error) {
	t.Helper()
	res, err := c.Post("http://node"+path, "application/json", bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatalf("%s %.100q: %v", path, body, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e api.Error
	if err := json.Unmarshal(raw, &e); err != nil {
		return res.StatusCode, api.Error{Message: fmt.Sprintf("%s: %v", raw, err)}
	}
	return res.StatusCode, e
}
