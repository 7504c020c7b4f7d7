// Package datagram carries the datagrams of clients to workers that have no socket in common with the node, has the kernel choose among the sockets of those that have, and
// carries them to peers where no worker is ready here, and brings back the answers, from the address that the client spoke to.
//
// A client and the address it speaks to are a session. All of its datagrams go to one worker, or to one peer, which has them all go to one worker of its own;
// one hop at most. A session ends when nothing moved for a while, when its worker leaves and when its peer does not answer any more; the next datagram
// begins another. Datagrams are not kept: what nobody can take at the moment is dropped, and counted.
//
// It decides nothing itself: where a session goes is asked of package balancer, one claim for each session. To a peer there is one stream for all sessions.
//
// Concurrency: one goroutine for each open socket, each session with a worker, and two for each stream. Tables have locks of their own, under which nothing
// blocks.
//
// Errors: a socket that fails is logged once a second, and read again.
//
// Read server.go (what there is), socket.go (clients' datagrams come in), share.go, group_linux.go and selector_linux.go (workers that have sockets of their own,
// and whom the kernel chooses), passed.go (sessions that go on in another process), session.go (a session and its table), upstream.go (to a worker), link.go (to a
// peer), ingress.go (from a peer), wire.go (what the two say to each other), packet_linux.go (the address that a client spoke to).
package datagram
