// Package api is the control API of a node: HTTP with JSON bodies, served to the operator on a Unix socket and to the
// other nodes on the api streams of the peer port, and the client for both.
//
// It is not the place where anything is decided: every route calls one method of a backend interface that package node
// implements, and carries the answer back. It knows no cluster, no workers and no sockets but the listener it is given.
//
// The two sides never mix: a Server made with Local serves the operator's routes, any other serves the peers' routes,
// and the routes of the other side do not exist on it. "all" in place of an app's name is refused: the command line
// spells it out, one change per app, so that each has its own answer.
//
// The operator's side knows who asks: the user at the socket, by the kernel's word, or an operator of a certificate, who may do what the table in
// access.go says and nothing else. What changes something is recorded with its outcome before it is answered; values of variables never are.
//
// Concurrency: Server and Client are safe for concurrent use. Backends are called from many goroutines at once.
//
// Errors: what a backend returns as *Error reaches the client's caller as an equal *Error, found with errors.As; any
// other error arrives with the code "failed" and its text, so backends must keep secrets out of error texts. Errors of
// reaching the node at all are returned wrapped and are no *Error.
//
// Bounds: request bodies up to 1 MiB, at most 256 connections, 5 s for a request's header, 10 s for its body, 60 s for
// its answer (a line, where logs are followed).
//
// Files in reading order: messages.go and description.go (what travels), backends.go (who answers), errors.go,
// caller.go and access.go (who asks, and may), server.go (life and bounds), operator.go, releases.go, admit.go, tokens.go, keys.go, operators.go, rescue.go and peer.go
// (routes), audit.go (what is kept of changes), stream.go (log lines), client.go, clientpeer.go, limit.go (bound on connections), metrics.go.
package api
