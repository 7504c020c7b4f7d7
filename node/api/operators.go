package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Operator is somebody who may ask the cluster from elsewhere.
type Operator struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"` // RoleAdmin or RoleViewer
	Serial  string    `json:"serial"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	// Bundle is certificate, private key and authority as PEM: a secret, in the answer to Create alone.
	Bundle string `json:"bundle,omitempty"`
}

// OperatorRequest asks for a certificate.
type OperatorRequest struct {
	Name string  `json:"name"`
	Role string  `json:"role"`
	TTL  float64 `json:"ttl_seconds"` // how long it counts, in seconds
}

func (s *Server) operatorsRoutes(mux *http.ServeMux, operators Operators) {
	s.handle(mux, "GET /v1/operators", func(ctx context.Context, _ call) (any, error) {
		list, err := operators.Operators(ctx)
		return filled(list), err
	})
	s.handle(mux, "POST /v1/operators", func(ctx context.Context, c call) (any, error) {
		var request OperatorRequest
		if err := c.decode(&request, true); err != nil {
			return nil, err
		}
		Note(ctx, "operator", request.Name)
		Note(ctx, "role", request.Role)
		Note(ctx, "ttl", time.Duration(request.TTL*float64(time.Second)).String())
		return operators.Create(ctx, request)
	})
	s.handle(mux, "DELETE /v1/operators/{operator}", func(ctx context.Context, c call) (any, error) {
		return operators.Revoke(ctx, c.PathValue("operator"))
	})
}

// Operators asks who may ask from elsewhere.
func (c *Client) Operators(ctx context.Context) ([]Operator, error) {
	return get[[]Operator](ctx, c, "/v1/operators", nil)
}

// CreateOperator asks for a certificate, whose private key is in the answer.
func (c *Client) CreateOperator(ctx context.Context, request OperatorRequest) (Operator, error) {
	return post[Operator](ctx, c, "/v1/operators", request)
}

// RevokeOperator has the certificate of that name count no more.
func (c *Client) RevokeOperator(ctx context.Context, name string) (Change, error) {
	var change Change
	err := c.call(ctx, http.MethodDelete, "/v1/operators/"+url.PathEscape(name), nil, &change)
	return change, err
}
