package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Tokens are the join tokens of the cluster.
type Tokens interface {
	// Tokens lists them without their secrets, the first to expire first.
	Tokens(ctx context.Context) ([]Token, error)
	// CreateToken makes one. It is the only time that its text is told.
	CreateToken(ctx context.Context, request TokenRequest) (NewToken, error)
	// RevokeToken forgets the one whose ID begins so.
	RevokeToken(ctx context.Context, id string) error
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Seconds int64 `json:"seconds"` // how long it holds
	Uses    int   `json:"uses"`    // how many servers it lets in
}

// Token is a join token as it may be shown.
type Token struct {
	ID      string    `json:"id"` // the beginning of the hash of its secret
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`    // servers that it still lets in
	Expired bool      `json:"expired"` // by the clock of the node that answers
}

// NewToken is a token that was just made.
type NewToken struct {
	Token
	Text string `json:"token"` // the secret itself
	Join string `json:"join"`  // an address to join by
}

func (s *Server) tokenRoutes(mux *http.ServeMux, t Tokens) {
	s.handle(mux, "GET /v1/tokens", func(ctx context.Context, _ call) (any, error) {
		list, err := t.Tokens(ctx)
		return filled(list), err
	})
	s.handle(mux, "POST /v1/tokens", func(ctx context.Context, c call) (any, error) {
		var request TokenRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		got, err := t.CreateToken(ctx, request)
		Note(ctx, "id", got.ID)
		return got, err
	})
	s.handle(mux, "DELETE /v1/tokens/{id}", func(ctx context.Context, c call) (any, error) {
		return nil, t.RevokeToken(ctx, c.PathValue("id"))
	})
}

// Tokens asks for the join tokens of the cluster.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	return get[[]Token](ctx, c, "/v1/tokens", nil)
}

// CreateToken asks for a join token.
func (c *Client) CreateToken(ctx context.Context, request TokenRequest) (NewToken, error) {
	return post[NewToken](ctx, c, "/v1/tokens", request)
}

// RevokeToken has a join token forgotten.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/tokens/"+url.PathEscape(id), nil, nil)
}
