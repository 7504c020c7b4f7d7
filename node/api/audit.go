package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// AuditEntry is one change that somebody asked a node for, whatever came of it. Values of variables are never in it.
type AuditEntry struct {
	Time    time.Time         `json:"time"`
	Node    string            `json:"node"` // the one that was asked
	Caller  Caller            `json:"caller"`
	Route   string            `json:"route"` // method and path, such as "POST /v1/apps/{app}/scale"
	What    string            `json:"what"`  // the same in a word, such as "scale"
	App     string            `json:"app,omitempty"`
	Args    map[string]string `json:"args,omitempty"`
	Outcome string            `json:"outcome"`            // OutcomeOK, or the code of the error
	Message string            `json:"message,omitempty"`  // the error
	Index   uint64            `json:"index,omitempty"`    // configuration index of the change
	Release uint64            `json:"release,omitempty"`  // release that holds since
	LeftOut uint64            `json:"left_out,omitempty"` // refusals before this one that were not recorded, because there were too many
}

// OutcomeOK is the outcome of a change that was made.
const OutcomeOK = "ok"

// MaxAuditEntries is how many entries a query may ask for.
const MaxAuditEntries = 10_000

// AuditQuery says which entries are wanted.
type AuditQuery struct {
	Lines int       // the newest so many
	Since time.Time // zero = from the beginning
}

// Audit is the answer to an AuditQuery.
type Audit struct {
	Entries []AuditEntry `json:"entries"` // oldest first
	Missing []Missing    `json:"missing"` // nodes whose entries are not among them
}

// Missing is a node that has not answered.
type Missing struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// Bounds of one entry, and of those of callers who were turned away: these could drive all others out of the log.
const (
	maxArgs      = 16
	refusalPause = time.Second
)

type recordKey struct{}

// draft is an entry in the making. A nil one takes everything and keeps nothing: what is only a question has none.
type draft struct {
	mu    sync.Mutex
	entry AuditEntry
	plain string // the message, where the error might repeat what was sent
}

// Note adds what a change was about to its entry in the audit log. It must never be given the value of a variable, nor anything else that
// is secret.
func Note(ctx context.Context, key, value string) {
	r, _ := ctx.Value(recordKey{}).(*draft)
	r.note(key, value)
}

func (r *draft) note(key, value string) {
	if r == nil || value == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.entry.Args == nil {
		r.entry.Args = make(map[string]string)
	}
	if _, again := r.entry.Args[key]; again || len(r.entry.Args) < maxArgs {
		r.entry.Args[clip(key)] = clip(value)
	}
}

// about says which app a change is of.
func (r *draft) about(app string) {
	if r != nil {
		r.entry.App = clip(app)
	}
}

// misread replaces the error's own text.
func (r *draft) misread(message string) {
	if r != nil {
		r.plain = message
	}
}

// recorded are the parts of a path that say what a change is about, beside the app.
func recorded() []string { return []string{"node", "operator", "id"} }

// begin returns the entry of a request that changes something; nil for all others.
func (s *Server) begin(pattern string, r *http.Request) *draft {
	if s.access.Audits == nil || pattern == "/" || pattern == compareSecrets || strings.HasPrefix(pattern, http.MethodGet+" ") {
		return nil
	}
	rec := &draft{entry: AuditEntry{Time: time.Now().UTC(), Caller: CallerOf(r.Context()).named(), Route: pattern, What: wordOf(pattern)}}
	if order := r.PathValue("order"); order != "" {
		rec.entry.What = clip(order)
	}
	rec.about(r.PathValue("app"))
	for _, key := range recorded() {
		rec.note(key, r.PathValue(key))
	}
	return rec
}

// wordOf is what a route does, in a word.
func wordOf(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	parts := strings.Split(strings.TrimPrefix(path, "/v1/"), "/")
	word := parts[len(parts)-1]
	if strings.HasPrefix(word, "{") {
		word = strings.TrimSuffix(parts[len(parts)-2], "s")
	}
	switch {
	case pattern == "POST /v1/apps":
		return "start"
	case pattern == "POST /v1/settings":
		return "set"
	case pattern == "POST /v1/members/{node}/leave":
		return "force-leave"
	case pattern == "POST /v1/admissions":
		return "admit"
	case pattern == "POST /v1/key/rotate":
		return "key rotate"
	case pattern == "POST /v1/tokens":
		return "token create"
	case pattern == "DELETE /v1/tokens/{id}":
		return "token revoke"
	case pattern == "POST /v1/operators":
		return "operator create"
	case pattern == "DELETE /v1/operators/{operator}":
		return "operator revoke"
	case pattern == "DELETE /v1/apps/{app}":
		return "delete"
	case method == http.MethodDelete:
		return "delete " + word
	}
	return word
}

// finish records what came of a change. It returns before the answer is sent, so that nobody hears of a change that is not in the log.
func (s *Server) finish(rec *draft, value any, err error) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	e := rec.entry
	e.Args = maps.Clone(e.Args)
	rec.mu.Unlock()
	e.Outcome = OutcomeOK
	if change, ok := value.(Change); ok && err == nil {
		e.Index, e.Release = change.Index, change.Release
	}
	if err != nil {
		failure := toError(err)
		e.Outcome, e.Message = failure.Code, clip(failure.Error())
		if rec.plain != "" {
			e.Message = rec.plain
		}
	}
	if e.Outcome == CodeForbidden {
		ok := false
		if e.LeftOut, ok = s.refusals.pass(e.Time); !ok {
			return
		}
	}
	s.access.Audits.Record(e)
}

// refusals lets one through in a while, and counts the others.
type refusals struct {
	mu      sync.Mutex
	last    time.Time
	leftOut uint64
}

func (r *refusals) pass(now time.Time) (leftOut uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if since := now.Sub(r.last); since >= 0 && since < refusalPause {
		r.leftOut++
		return 0, false
	}
	leftOut, r.leftOut, r.last = r.leftOut, 0, now
	return leftOut, true
}

// errBroke stands for an answer that did not come to its end.
var errBroke = errors.New("the node broke off in the middle of it")

func (s *Server) auditRoute(mux *http.ServeMux, pattern string, audit func(context.Context, AuditQuery) (Audit, error)) {
	s.handle(mux, pattern, func(ctx context.Context, c call) (any, error) {
		var q AuditQuery
		var err error
		v := c.URL.Query()
		if q.Lines, err = strconv.Atoi(v.Get("lines")); err != nil || q.Lines < 1 || q.Lines > MaxAuditEntries {
			return nil, Errorf(CodeInvalid, "", "the number of entries must be from 1 to %d", MaxAuditEntries)
		}
		if text := v.Get("since"); text != "" {
			if q.Since, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return nil, Errorf(CodeInvalid, sameVersion, "the time to begin with is not understood")
			}
		}
		a, err := audit(ctx, q)
		a.Entries, a.Missing = filled(a.Entries), filled(a.Missing)
		return a, err
	})
}

func (q AuditQuery) values() url.Values {
	v := url.Values{"lines": {strconv.Itoa(q.Lines)}}
	if !q.Since.IsZero() {
		v.Set("since", q.Since.UTC().Format(time.RFC3339Nano))
	}
	return v
}

// Audit asks who changed what, over the whole cluster.
func (c *Client) Audit(ctx context.Context, q AuditQuery) (Audit, error) {
	return get[Audit](ctx, c, "/v1/audit", q.values())
}

// LocalAudit asks the peer what it was asked for.
func (c *Client) LocalAudit(ctx context.Context, q AuditQuery) (Audit, error) {
	return get[Audit](ctx, c, "/peer/v1/audit", q.values())
}
