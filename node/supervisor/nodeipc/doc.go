// Package nodeipc plays the primary of Node.js's cluster module for one worker: it answers the worker's listen calls over the IPC
// channel and passes accepted sockets to it. After that no byte of the connection crosses meshnode.
//
// It is not a supervisor: it starts no process, binds no address and chooses no worker. The protocol is Node's own, JSON messages one
// a line over a stream socket, the same from Node 14 to 26; it is not documented by Node, and was read from lib/internal/cluster
// and lib/internal/child_process and tried on the real binaries.
//
// Concurrency: Run reads in its caller's goroutine and calls the Handler from there, one call at a time. All other methods
// are safe for concurrent use and none blocks. The outcome function of an offer is called exactly once, from Run or from Close.
//
// Errors: ErrClosed after the channel's end, ErrBusy where the worker does not read. A worker that writes something that is not Node's
// protocol, or that asks without reading the answers, ends the channel.
//
// Read channel.go (the channel and its loop), message.go (the messages), offer.go (passing sockets), preload.go (the small script
// that lets a worker drain without closing a connection under a client).
package nodeipc
