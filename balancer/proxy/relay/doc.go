// Package relay carries bytes between pairs of sockets, both ways, until both directions have ended: the data path of forwarded connections
// and of workers that do not take sockets.
//
// It is an event loop beside Go's scheduler: a few goroutines, each with an epoll descriptor of its own, read and write thousands of sockets
// without a goroutine, a stack or a buffer for any of them. An idle pair costs its two descriptors and some hundred bytes.
//
// A direction reads into its loop's one buffer and writes at once. What the other side does not take stays in that buffer, which then
// belongs to the direction, and nothing more is read from its source: at most one buffer waits in each direction. A flow that fills what is read at once is bulk, and moves inside
// the kernel through a pipe, which it holds only while bulk flows. A side may have a Layer (such as TLS), which turns bytes and
// does no input or output; its bytes cannot be moved inside the kernel.
//
// An end is passed on as an end, after all bytes before it; an error on either side ends both as a reset.
//
// It knows neither apps nor peers, and bounds neither the number of pairs nor who they are: the caller does.
//
// Concurrency: every method of Engine may be called from any goroutine. A pair belongs to one loop from Carry on; over is called on that loop and
// must not block.
//
// Errors: none of a pair's; the caller is told in over how it ended.
//
// Files in reading order: engine.go (life, Carry), loop.go (events, time), rush.go (a loop that is busy), link.go (one pair: what to do next), socket.go (one side), bulk.go (pipes).
package relay
