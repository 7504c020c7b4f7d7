// Package mux owns the TCP side of the one port between servers: it accepts and dials peer streams, proves who is at the other end, and
// gives each stream to the one component that speaks its protocol (gossip, raft, forward, api, load).
//
// With a cluster key every stream is TLS 1.3 with certificates on both sides. Nothing is handed out and nothing is stored: the key of the
// certificate authority is derived from the cluster key, so every node that holds the key makes its own certificate at start and can check
// everybody else's. The protocol is chosen by ALPN. Without a key ("insecure") a fixed-length plain preamble takes the place of the
// handshake; the two modes refuse each other with a clear error.
//
// One protocol, Admit, is for those who have no key and ask to be let in: TLS without a certificate on the dialing side, chosen by a client that
// offers nothing else. What is said there is the concern of package admit.
//
// It is not a stream multiplexer: one TCP connection carries one stream. It decides which roles may open streams of a protocol at all (rolesOf), says
// who the peer is (PeerOf), and the reader of the stream decides the rest. It does not close streams it has given away.
//
// The socket of a stream can be taken away (Detach): whoever relays thousands of them reads and writes in his own way, and the stream only
// turns bytes from then on.
//
// Concurrency: every method of a Mux may be called from any goroutine. One goroutine accepts; each handshake has its own, bounded in number and
// time; Close waits for all of them.
//
// Errors: ErrWrongKey, ErrPeerInsecure, ErrPeerSecure and ErrKeyMistyped are for callers to branch on; everything else is wrapped with the
// operation. A refusal on the accepting side is never an error of the mux: it is counted (Stats, metrics) and logged at debug level.
//
// Files in reading order: key.go (the cluster key and what is derived from it), identity.go (who a peer is), mux.go (life, Dial),
// accept.go (the accepting side), roles.go (who may open what), listener.go (the queues of accepted streams), tls.go (the secure handshake), secure.go (a secure stream, with its socket and without), certificate.go (authority and
// leaf), preamble.go (the insecure handshake and its codec), signed.go (forwards in plain text between nodes that hold the key), stranger.go (TLS for those who
// have no key yet), operator.go (people who come with a certificate of their own), seal.go (values that only the key opens), rotate.go (another key
// in place of the first), admission.go (the bound on handshakes), metrics.go.
package mux
