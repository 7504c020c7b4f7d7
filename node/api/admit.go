package api

import (
	"context"
	"net/http"
	"time"
)

// Door answers for who is let into the cluster, and by which key. Tokens are asked by the operator only.
type Door struct {
	Admissions Admissions
	Tokens     Tokens
	Keys       Keys
}

// Admissions lets servers in that have no cluster key.
type Admissions interface {
	// Admissions lists the servers that ask to be let in, on every node, without their codes.
	Admissions(ctx context.Context) ([]Admission, error)
	// Admit lets the server in that shows the code, whichever node it asks.
	Admit(ctx context.Context, code string) (Admission, error)
	// LocalAdmissions is Admissions for those that ask this node.
	LocalAdmissions(ctx context.Context) ([]Admission, error)
	// LocalAdmit is Admit for those that ask this node; CodeNotFound when none of them shows the code.
	LocalAdmit(ctx context.Context, order AdmitOrder) (Admission, error)
}

// Admission is a server that asks to be let in, or was let in.
type Admission struct {
	Node    string    `json:"node"`
	ID      string    `json:"id"`
	Addr    string    `json:"addr"`    // the address that it asks from
	Version string    `json:"version"` // of its binary
	Since   time.Time `json:"since"`
	Via     string    `json:"via"` // the node that it asks
}

// AdmitOrder is how nodes tell each other what the operator has typed.
type AdmitOrder struct {
	Code string `json:"code"`
	By   string `json:"by"` // the node whose operator it was
}

type admitRequest struct {
	Code string `json:"code"`
}

func (s *Server) admitRoutes(mux *http.ServeMux, a Admissions) {
	s.handle(mux, "GET /v1/admissions", func(ctx context.Context, _ call) (any, error) {
		list, err := a.Admissions(ctx)
		return filled(list), err
	})
	s.handle(mux, "POST /v1/admissions", func(ctx context.Context, c call) (any, error) {
		var request admitRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		got, err := a.Admit(ctx, request.Code)
		Note(ctx, "node", got.Node)
		Note(ctx, "addr", got.Addr)
		return got, err
	})
}

func (s *Server) peerAdmitRoutes(mux *http.ServeMux, a Admissions) {
	s.handle(mux, "GET /peer/v1/admissions", func(ctx context.Context, _ call) (any, error) {
		list, err := a.LocalAdmissions(ctx)
		return filled(list), err
	})
	s.handle(mux, "POST /peer/v1/admissions", func(ctx context.Context, c call) (any, error) {
		var order AdmitOrder
		if err := c.decode(&order, false); err != nil {
			return nil, err
		}
		return a.LocalAdmit(ctx, order)
	})
}

// Admissions asks for the servers that wait to be let in, on every node.
func (c *Client) Admissions(ctx context.Context) ([]Admission, error) {
	return get[[]Admission](ctx, c, "/v1/admissions", nil)
}

// Admit lets the server in that shows the code.
func (c *Client) Admit(ctx context.Context, code string) (Admission, error) {
	return post[Admission](ctx, c, "/v1/admissions", admitRequest{Code: code})
}

// LocalAdmissions asks the peer for the servers that ask it to be let in.
func (c *Client) LocalAdmissions(ctx context.Context) ([]Admission, error) {
	return get[[]Admission](ctx, c, "/peer/v1/admissions", nil)
}

// LocalAdmit has the peer let the server in that shows the code there.
func (c *Client) LocalAdmit(ctx context.Context, order AdmitOrder) (Admission, error) {
	return post[Admission](ctx, c, "/peer/v1/admissions", order)
}
