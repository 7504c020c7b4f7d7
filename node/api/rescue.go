package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// Rescue is for the day on which servers are lost.
type Rescue interface {
	// Snapshot returns the whole configuration.
	Snapshot(ctx context.Context) (Snapshot, error)
	// Recover has this node go on without the servers that a majority was lost with, or says what that would be. It returns before that is
	// done: the node is replaced by itself in between.
	Recover(ctx context.Context, request RecoverRequest) (Recovery, error)
	// Recovered tells how the last one went.
	Recovered(ctx context.Context) (Recovery, error)
}

// Snapshot is the whole configuration at one index.
type Snapshot struct {
	Node    string `json:"node"` // who answered
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Current bool   `json:"current"` // a majority has just agreed that there is nothing newer; false = the last that this node knows of
	State   []byte `json:"state"`   // with length and checksum, as it stands on disk
}

// RecoverRequest asks to go on without servers.
type RecoverRequest struct {
	Lost   []string `json:"lost"`    // names or identities of servers
	DryRun bool     `json:"dry_run"` // only say what would be done
}

// Recovery is a cluster that goes on without its majority.
type Recovery struct {
	Node    string       `json:"node"`    // the only voter at first; empty = there was no recovery
	Lost    []LostServer `json:"lost"`    // given up for good
	Others  []string     `json:"others"`  // nodes that answer and follow, sorted
	Voters  int          `json:"voters"`  // before (count)
	Index   uint64       `json:"index"`   // configuration index that this node has
	Running bool         `json:"running"` // it is not over
	Error   string       `json:"error"`   // why all is as before, else empty
}

// LostServer is a server that is given up.
type LostServer struct {
	Node string `json:"node"`
	ID   string `json:"id"`
	Addr string `json:"addr"`
}

// ServerState is what a node knows as a server of the configuration.
type ServerState struct {
	ID        string `json:"id"`
	Leader    string `json:"leader"` // identity of the one it follows, or is; empty = none
	Quorum    bool   `json:"quorum"`
	LastIndex uint64 `json:"last_index"` // of its log, agreed on or not
	LastTerm  uint64 `json:"last_term"`
	Term      uint64 `json:"term"`
}

func (s *Server) rescueRoutes(mux *http.ServeMux, rescue Rescue) {
	s.handle(mux, "GET /v1/snapshot", func(ctx context.Context, _ call) (any, error) { return rescue.Snapshot(ctx) })
	s.handle(mux, "GET /v1/recover", func(ctx context.Context, _ call) (any, error) {
		r, err := rescue.Recovered(ctx)
		return r.filled(), err
	})
	s.handle(mux, "POST /v1/recover", func(ctx context.Context, c call) (any, error) {
		var request RecoverRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		Note(ctx, "lost", strings.Join(request.Lost, ","))
		Note(ctx, "dry_run", strconv.FormatBool(request.DryRun))
		r, err := rescue.Recover(ctx, request)
		return r.filled(), err
	})
}

func (r Recovery) filled() Recovery {
	r.Lost, r.Others = filled(r.Lost), filled(r.Others)
	return r
}

// Snapshot asks for the whole configuration.
func (c *Client) Snapshot(ctx context.Context) (Snapshot, error) {
	return get[Snapshot](ctx, c, "/v1/snapshot", nil)
}

// Recover has the node go on without lost servers, or asks what that would be.
func (c *Client) Recover(ctx context.Context, request RecoverRequest) (Recovery, error) {
	return post[Recovery](ctx, c, "/v1/recover", request)
}

// Recovered asks how the last recovery went.
func (c *Client) Recovered(ctx context.Context) (Recovery, error) {
	return get[Recovery](ctx, c, "/v1/recover", nil)
}
