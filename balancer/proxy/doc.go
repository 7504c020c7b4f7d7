// Package proxy is the data path: it accepts the clients' connections on every app's addresses, asks package balancer where each
// goes, and takes it there: hands it off to a local worker, or forwards it to a peer, one hop at most.
//
// It decides nothing itself and knows neither processes nor gossip: workers and the way to peers are given to it. Bytes cross it only
// for forwarded connections and for workers that do not take sockets; a socket that was handed off to a Node worker is
// that worker's alone.
//
// Ownership: from accept on, exactly one place owns a client connection and closes it: Server.place until a target took it, then the
// relay, or the worker. A target gets no byte before it said that it accepts; until then a connection can go elsewhere.
//
// Concurrency: one goroutine per listener accepts and places; a connection that is relayed has one or two more until its target took it,
// and each peer to which something is forwarded has one. A listener that cannot place a connection stops accepting, so the kernel's backlog holds the rest back.
//
// Errors: a connection that nobody can serve within patience is reset, counted and logged once a second.
//
// Read server.go (apps, listeners), stats.go (counters), listener.go (accept), gate.go (who may come in) and entry.go (how; header.go
// reads and writes PROXY protocol headers), place.go (the life of one connection until it is taken),
// handoff.go (to a local worker), forward.go (to a peer), hedge.go (to another one if that says nothing), streams.go (streams that wait for
// use), ingress.go (from a peer), stream.go (a peer's stream to a local worker), preamble.go and signed.go (what the two nodes say to each
// other), relay.go and copy.go (bytes; package relay does the work), grumble.go (log lines), track_linux.go (when a connection that was handed off has ended),
// lookout.go, accepted_linux.go and rescue.go (workers that are dialed and accept nothing),
// direct.go, group_linux.go, sibling_linux.go and selector_linux.go (workers that accept by themselves, and whom the kernel chooses).
package proxy
