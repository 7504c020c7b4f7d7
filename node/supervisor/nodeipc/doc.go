// Package nodeipc plays the primary of Node.js's cluster module for one worker: it answers the listen calls of the worker's processes and
// passes accepted sockets to them. After that no byte of the connection crosses meshnode.
//
// It is not a supervisor: it starts no process, binds no address and chooses no worker. The protocol is Node's own, JSON messages one
// a line over a stream socket, the same from Node 14 to 26; it is not documented by Node, and was read from lib/internal/cluster
// and lib/internal/child_process and tried on the real binaries.
//
// A worker is spoken to over a Family of channels. The started process, if it runs the app itself, inherits Node's own channel. What listens
// elsewhere (behind npm, tsx or node --watch, in a thread or a child of the app, in the primary of the app's own cluster, or with "exclusive")
// never asks Node's cluster module; there the preload takes the listen call and opens a channel of its own, over a Unix socket
// that the environment names, in the same protocol. Where that fails, the app binds its port itself, as without meshnode. When
// such a channel ends under a server, the preload looks for the socket again, for 30 s, and asks anew: AdoptFamily opens it. Datagram sockets, and listeners
// on paths, are answered with the socket itself, but only over Node's own channel; so may be TCP listeners, where the preload reports what the process accepts.
//
// Not caught: listen({fd}), exclusive or reusePort datagram sockets, a cluster of the app's own under SCHED_NONE, any free port (0) below the
// started process or with "exclusive", and programs that are no Node.js.
//
// Concurrency: Run reads in its caller's goroutine; of a Family, one goroutine for each further channel, all of which end before Run
// returns. The Handler is called from there, one call at a time. All other methods are safe for concurrent use and none blocks, but for
// Detach. The outcome function of an offer is called exactly once, from Run, Close or Detach.
//
// Errors: ErrClosed after the channel's end, ErrBusy where the worker does not read, ErrDetached where a successor has the channel. A worker
// that writes something that is not Node's protocol, or that asks without reading the answers, ends the channel.
//
// Read channel.go (the channel and its loop), message.go (the messages), offer.go (passing sockets), pulse.go (is it hung; messages to the
// app), family.go (all channels of a worker), handover.go and estate.go (a successor goes on with one, with all), pair.go and preload.go (what
// a worker is started with), then preload.cjs, the script on the other side.
package nodeipc
