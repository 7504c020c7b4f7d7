// Package mesh knows who is alive and how busy: membership by gossip (SWIM with Lifeguard, through hashicorp/memberlist) and load records by
// persistent streams between peers.
//
// It does not choose where a connection goes (package balancer), does not hold the configuration (package store) and opens no socket: the
// peer port's packet socket, listeners and dialers are passed in. What gossip says is advice: routing stops using a peer at its own first
// failure, and gossip follows within seconds.
//
// Concurrency: every method may be called from any goroutine. One goroutine, the keeper, owns the roster, the links and the records; the
// callbacks of memberlist only leave a note in a bounded inbox, readers take immutable snapshots. OnLoad, OnLink and OnConflict are called by
// the keeper, one at a time, and must not block. Close waits for every goroutine of this package; streams that memberlist still serves are
// cut, so its own goroutines end soon after.
//
// Errors: ErrOtherCluster, ErrMetadataTooLarge and ErrClosed are for callers to branch on; the errors of the dialers passed in can be reached
// with errors.Is through the error of Join.
//
// Files in reading order: member.go (what a member is), load.go (the load record), mesh.go (options, life, readers), join.go (Join, Leave,
// reconnecting), facts.go (snapshots that anybody may read), keeper.go (the goroutine that owns the rest), roster.go (members and their
// status), links.go (which peers have a stream), link.go (one stream, dialing side), feed.go (accepting side), aperture.go (which peers,
// beyond 17 nodes), delegate.go and inbox.go (memberlist's callbacks), message.go (user messages in gossip), metadata.go (static facts),
// watch.go, keys.go (what gossip is encrypted with), transport.go and streams.go (memberlist's wires), config.go (the profile), memberlog.go (what memberlist logs), metrics.go.
package mesh
