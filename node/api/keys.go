package api

import (
	"context"
	"net/http"
)

// Keys replaces the cluster key.
type Keys interface {
	// RotateKey puts a new key in the place of the cluster's, on every server, or goes on with what was begun. force leaves out servers that are down.
	RotateKey(ctx context.Context, force bool) (Rotation, error)
	// LeadRotation is RotateKey on the leader, which alone does it; CodeNotLeader otherwise.
	LeadRotation(ctx context.Context, force bool) (Rotation, error)
	// KeyState tells how far this node is.
	KeyState(ctx context.Context) (KeyState, error)
	// StepKey takes this node one step on, unless it has come so far already.
	StepKey(ctx context.Context, step KeyStep) error
}

// Rotation is what came of replacing the key.
type Rotation struct {
	Key   string   `json:"key"`   // fingerprint of the new one
	Nodes []string `json:"nodes"` // that have it
	Left  []string `json:"left"`  // that were down and left out; they have to be admitted again
	// Operators had certificates of the former key, which count no more.
	Operators []string `json:"operators"`
}

// KeyState is how far a node is with a new key.
type KeyState struct {
	Node  string `json:"node"`
	Key   string `json:"key"`   // fingerprint of the key that it signs with
	Other string `json:"other"` // of the other one that it takes; empty = none
	Using bool   `json:"using"` // it signs with the new one already, and Other is the old one
}

// The steps, in their order.
const (
	KeyInstall = "install" // take both keys
	KeyUse     = "use"     // sign with the new one
	KeyRemove  = "remove"  // forget the old one
)

// KeyStep asks a node for one step.
type KeyStep struct {
	Step string `json:"step"`
	Key  string `json:"key"`            // fingerprint of the new key
	Text string `json:"text,omitempty"` // KeyInstall: the new key itself
	// Replace has KeyInstall take the place of another new key, which nobody uses.
	Replace bool `json:"replace,omitempty"`
}

type rotateRequest struct {
	Force bool `json:"force"`
}

func (s *Server) keyRoutes(mux *http.ServeMux, k Keys) {
	s.handle(mux, "POST /v1/key/rotate", func(ctx context.Context, c call) (any, error) {
		var request rotateRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		r, err := k.RotateKey(ctx, request.Force)
		return r.filled(), err
	})
}

func (s *Server) peerKeyRoutes(mux *http.ServeMux, k Keys) {
	s.handle(mux, "POST /peer/v1/key/rotate", func(ctx context.Context, c call) (any, error) {
		var request rotateRequest
		if err := c.decode(&request, false); err != nil {
			return nil, err
		}
		r, err := k.LeadRotation(ctx, request.Force)
		return r.filled(), err
	})
	s.handle(mux, "GET /peer/v1/key", func(ctx context.Context, _ call) (any, error) { return k.KeyState(ctx) })
	s.handle(mux, "POST /peer/v1/key", func(ctx context.Context, c call) (any, error) {
		var step KeyStep
		if err := c.decode(&step, true); err != nil { // what a node does not know of a key must not be half done
			return nil, err
		}
		return nil, k.StepKey(ctx, step)
	})
}

func (r Rotation) filled() Rotation {
	r.Nodes, r.Left, r.Operators = filled(r.Nodes), filled(r.Left), filled(r.Operators)
	return r
}

// RotateKey replaces the cluster key.
func (c *Client) RotateKey(ctx context.Context, force bool) (Rotation, error) {
	return post[Rotation](ctx, c, "/v1/key/rotate", rotateRequest{Force: force})
}

// LeadRotation has the peer, which must be the leader, replace the cluster key.
func (c *Client) LeadRotation(ctx context.Context, force bool) (Rotation, error) {
	return post[Rotation](ctx, c, "/peer/v1/key/rotate", rotateRequest{Force: force})
}

// KeyState asks the peer how far it is with a new key.
func (c *Client) KeyState(ctx context.Context) (KeyState, error) {
	return get[KeyState](ctx, c, "/peer/v1/key", nil)
}

// StepKey takes the peer one step on.
func (c *Client) StepKey(ctx context.Context, step KeyStep) error {
	_, err := post[struct{}](ctx, c, "/peer/v1/key", step)
	return err
}
