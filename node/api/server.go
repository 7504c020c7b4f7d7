package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
)

const (
	maxBody        = 1 << 20
	maxConnections = 256

	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	answerTime = 60 * time.Second
	idleTime   = 60 * time.Second

	sameVersion = "use the same version of meshnode on both ends"
)

// Options are what a Server needs. A server for the operator needs Cluster, Members, Apps, Releases, Rescue and Logs; one for peers needs Peer.
type Options struct {
	Cluster  Cluster
	Members  Members
	Apps     Apps
	Releases Releases
	Logs     Logs
	Upgrades Upgrades
	Explains Explains // asked by both, the operator and peers
	Rescue   Rescue
	Peer     Peer
	Door     Door             // asked by both
	Logger   hclog.Logger     // nil = silent
	Metrics  *metrics.Metrics // nil = none
	Local    bool             // true = operator's routes, false = peers' routes
	Access   Access           // who may use the operator's routes; of a server for peers its audit log, and who asks
}

// Server serves one side of the control API. Use NewServer, then Serve in a goroutine of the caller's, then Close.
type Server struct {
	http     *http.Server
	limit    *limit
	log      hclog.Logger
	metrics  *metrics.Metrics
	active   gate
	local    bool
	access   Access
	refusals refusals
}

// gate counts the requests at work and lets nobody in once it is shut.
type gate struct {
	mu   sync.Mutex
	shut bool
	in   sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.in.Add(1)
	}
	return !g.shut
}

func (g *gate) shutAndWait() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.in.Wait()
}

// NewServer returns a server that does nothing yet.
func NewServer(o Options) *Server {
	log := o.Logger
	if log == nil {
		log = hclog.NewNullLogger()
	}
	s := &Server{log: log.Named("api"), limit: &limit{most: maxConnections, refused: func() { count(o.Metrics, metricRefused) }}, metrics: o.Metrics, local: o.Local, access: o.Access}
	if o.Local && s.access.Caller == nil {
		s.access.Caller = socketCaller
	}
	mux := http.NewServeMux()
	if o.Local {
		s.operatorRoutes(mux, o)
		s.explainRoute(mux, "GET /v1/apps/{app}/explain", o.Explains)
		s.admitRoutes(mux, o.Door.Admissions)
		s.tokenRoutes(mux, o.Door.Tokens)
		s.keyRoutes(mux, o.Door.Keys)
	} else {
		s.peerRoutes(mux, o.Peer)
		if o.Access.Audits != nil {
			s.auditRoute(mux, "GET /peer/v1/audit", o.Access.Audits.LocalAudit)
		}
		s.explainRoute(mux, "GET /peer/v1/apps/{app}/explain", o.Explains)
		s.peerAdmitRoutes(mux, o.Door.Admissions)
		s.peerKeyRoutes(mux, o.Door.Keys)
	}
	s.handle(mux, "/", func(_ context.Context, c call) (any, error) {
		return nil, Errorf(CodeNotFound, sameVersion, "there is no route %s %s", c.Method, c.URL.Path)
	})
	s.http = &http.Server{
		Handler:           s.counted(mux),
		ReadHeaderTimeout: headerTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return withCaller(ctx, c, s.access.Caller) },
		ErrorLog:          s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s
}

// Serve answers requests on l until Close, blocks, and owns l from here on. It returns nil after Close. It may be called
// for several listeners.
func (s *Server) Serve(l net.Listener) error {
	limited := &limitListener{Listener: l, limit: s.limit}
	if err := s.http.Serve(limited); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close stops serving: listeners close, requests in flight get a second to finish, then their connections close and
// their contexts end. It returns when the last of them is over; a backend must not wait for it.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.active.shutAndWait()
	return err
}

// counted lets Close wait for every request.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.active.enter() {
			s.fail(w, r, Errorf(CodeUnavailable, "", "this node is stopping"))
			return
		}
		defer s.active.in.Done()
		count(s.metrics, metricRequests)
		next.ServeHTTP(w, r)
	})
}

// call is a request whose body has been read.
type call struct {
	*http.Request
	body   []byte
	record *draft
}

// handle adds a route that answers with one JSON value, or with nothing when the value is nil. The context of an answer
// ends early enough for its error to be written.
func (s *Server) handle(mux *http.ServeMux, pattern string, answer func(context.Context, call) (any, error)) {
	s.route(mux, pattern, func(w http.ResponseWriter, r *http.Request, rec *draft) {
		value, err := s.answer(w, r, rec, answer)
		switch {
		case err != nil:
			s.fail(w, r, err)
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			s.reply(w, r, http.StatusOK, value)
		}
	})
}

// answer reads the body and has the route answered, within the time for it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, rec *draft, answer func(context.Context, call) (any, error)) (value any, err error) {
	err = errBroke // what a backend that panics leaves
	defer func() { s.finish(rec, value, err) }()
	body, failed := readBody(w, r)
	if failed != nil {
		return nil, failed
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerTime-5*time.Second)
	defer cancel()
	return answer(ctx, call{Request: r, body: body, record: rec})
}

// route adds a route that only those get who may. Every request to change something has an entry in the audit log, also one that is refused.
func (s *Server) route(mux *http.ServeMux, pattern string, serve func(http.ResponseWriter, *http.Request, *draft)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		if !s.local || pattern == "/" {
			serve(w, r, nil)
			return
		}
		rec := s.begin(pattern, r)
		if rec != nil {
			r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		}
		if err := s.access.permit(r.Context(), pattern); err != nil {
			s.finish(rec, nil, err)
			s.fail(w, r, err)
			return
		}
		serve(w, r, rec)
	})
}

func (s *Server) reply(w http.ResponseWriter, r *http.Request, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		s.log.Debug("answer not written", "path", r.URL.Path, "err", err)
	}
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	count(s.metrics, metricErrors)
	e := toError(err)
	s.reply(w, r, httpStatus(e.Code), e)
}

// readBody reads the whole body within its time limit. The limit is lifted afterwards: left in place it would end the
// request's context while a backend is still at work.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTime)); err != nil {
		return nil, fmt.Errorf("limit the time for the request: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, Errorf(CodeInvalid, "", "the request is larger than %d bytes", large.Limit)
	case err != nil:
		return nil, Errorf(CodeInvalid, "try again", "the request broke off: %v", err)
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the time limit of the request: %w", err)
	}
	return body, nil
}

// decode reads the body as one JSON value into v. A strict decode refuses fields it does not know, so that a misspelt
// or newer request is never half obeyed.
func (c call) decode(v any, strict bool) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return Errorf(CodeInvalid, "", "the request has no body")
	}
	d := json.NewDecoder(bytes.NewReader(c.body))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		c.record.misread("the request is not understood") // the whole error may name a value that was sent
		return Errorf(CodeInvalid, sameVersion, "the request is not understood: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Errorf(CodeInvalid, "", "the request holds more than one value")
	}
	return nil
}
