package api

import (
	"context"
	"net"
	"slices"
	"strconv"
)

// Access is who may ask an operator's server what, and what is kept of it.
type Access struct {
	// Audits keeps every change; nil = nothing is kept. Peers ask it too.
	Audits Audits
	// Operators are those who come with a certificate; nil = there are none.
	Operators Operators
	// Caller says who is at the other end of a connection; nil = for operators the user at a Unix socket, for peers nobody knows.
	Caller func(net.Conn) Caller
}

// Audits keeps who changed what.
type Audits interface {
	// Record keeps one entry. What cannot be kept is for the backend to tell: the change has been made.
	Record(e AuditEntry)
	// Audit returns what all nodes have kept.
	Audit(ctx context.Context, q AuditQuery) (Audit, error)
	// LocalAudit returns what this node has kept.
	LocalAudit(ctx context.Context, q AuditQuery) (Audit, error)
}

// Operators are those who may ask from elsewhere, with a certificate.
type Operators interface {
	// Known returns an error for a certificate that counts no more.
	Known(ctx context.Context, c Caller) error
	// Operators returns those whose certificates count, by name.
	Operators(ctx context.Context) ([]Operator, error)
	// Create makes a certificate. One of the same name counts no more.
	Create(ctx context.Context, request OperatorRequest) (Operator, error)
	// Revoke has the certificate of that name count no more.
	Revoke(ctx context.Context, name string) (Change, error)
}

// viewed are the routes that a viewer gets. What is not here changes something, or shows what a viewer is not to see.
func viewed() []string {
	return []string{
		"GET /v1/status", "GET /v1/workers", "GET /v1/apps/{app}", "GET /v1/apps/{app}/progress", "GET /v1/apps/{app}/releases",
		"GET /v1/apps/{app}/explain", "GET /v1/upgrade", "GET /v1/logs", "GET /v1/audit", "GET /v1/operators",
	}
}

// changed are the routes that an admin gets beside those. What is not here is for the servers' own users alone, such as what makes, or shows, what
// outlives the certificate of whoever asks: other certificates, the cluster key.
func changed() []string {
	return []string{
		"POST /v1/apps", "POST /v1/apps/{app}/reload", "POST /v1/apps/{app}/scale", "POST /v1/apps/{app}/stop", "POST /v1/apps/{app}/rollback", compareSecrets,
		"DELETE /v1/apps/{app}", "POST /v1/orders/{order}", "POST /v1/settings", "POST /v1/leave", "POST /v1/upgrade", "DELETE /v1/operators/{operator}",
		"POST /v1/members/{node}/leave",
	}
}

// permit refuses a request that its caller may not make.
func (a Access) permit(ctx context.Context, pattern string) error {
	c := CallerOf(ctx)
	switch c.Via {
	case ViaSocket:
		return nil
	case ViaRemote:
	default:
		return Errorf(CodeForbidden, "", "it is not known who asks")
	}
	if a.Operators == nil {
		return Errorf(CodeForbidden, "", "this node knows no operators")
	}
	if err := a.Operators.Known(ctx, c); err != nil {
		return err
	}
	looks, changes := slices.Contains(viewed(), pattern), slices.Contains(changed(), pattern)
	switch {
	case c.Role != RoleViewer && c.Role != RoleAdmin:
		return Errorf(CodeForbidden, "", "the role %s of %s means nothing here", strconv.Quote(clip(c.Role)), c.Certificate)
	case looks || changes && c.Role == RoleAdmin:
		return nil
	case changes:
		return Errorf(CodeForbidden, "ask somebody with the role admin, or do it on one of the servers", "%s has the role viewer, which may not do this", c.Certificate)
	}
	return Errorf(CodeForbidden, "do it on one of the servers, as root or as the node's user", "this cannot be done from elsewhere")
}
