package api

import (
	"context"
	"net/http"
)

// applied is the answer to a forwarded write.
type applied struct {
	Index uint64 `json:"index"`
}

// peerRoutes adds what nodes ask of each other. Requests are not decoded strictly: while a cluster is upgraded, nodes of
// two versions meet, and the newer one may say more.
func (s *Server) peerRoutes(mux *http.ServeMux, peer Peer) {
	s.handle(mux, "POST /peer/v1/hello", func(ctx context.Context, c call) (any, error) {
		var from Hello
		if err := c.decode(&from, false); err != nil {
			return nil, err
		}
		return peer.Hello(ctx, from)
	})
	s.handle(mux, "POST /peer/v1/apply", func(ctx context.Context, c call) (any, error) {
		if len(c.body) == 0 {
			return nil, Errorf(CodeInvalid, "", "the request has no body")
		}
		index, err := peer.Apply(ctx, c.body)
		return applied{Index: index}, err
	})
	s.handle(mux, "GET /peer/v1/status", func(ctx context.Context, _ call) (any, error) {
		return peer.LocalStatus(ctx)
	})
	s.stream(mux, "GET /peer/v1/logs", peer.LocalLogs)
	s.handle(mux, "POST /peer/v1/orders/{order}", func(ctx context.Context, c call) (any, error) {
		order, err := orderOf(c)
		if err != nil {
			return nil, err
		}
		return nil, peer.TendLocal(ctx, order)
	})
}
