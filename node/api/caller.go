package api

import (
	"context"
	"net"
)

// Caller is the node that a request comes from, as its stream says: from the certificate, or without a key from what it said of itself.
type Caller struct {
	Node string
	ID   string
}

type callerKey struct{}

// CallerOf returns who makes a request; false for the operator's, and where the server was not told how to find out.
func CallerOf(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// withCaller remembers who is at the other end of a connection, for all requests on it.
func withCaller(ctx context.Context, c net.Conn, find func(net.Conn) (Caller, bool)) context.Context {
	if limited, ok := c.(*limitedConn); ok {
		c = limited.Conn
	}
	if find == nil {
		return ctx
	}
	who, ok := find(c)
	if !ok {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, who)
}
