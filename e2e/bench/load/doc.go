// Package load sends HTTP/1.1 requests to an app at a fixed rate, whatever the answers do (open loop), and checks every answer.
//
// Every request is written exactly once. Nothing is sent again: an error is a failure, and is put into a class that says where it struck.
// net/http's client is not used for that reason: it repeats a request in silence when a kept connection turns out to be closed. What a
// careful client does is done here too: before a kept connection is used again, it is looked at, and dropped if the server has closed it
// in the meantime. That is counted, and is no failure, because nothing was sent on it.
//
// Latency counts from the moment a request was due, so that a stall is charged to every request that it delays.
//
// Concurrency: Run and Saturate block; each request has a goroutine of its own, and none is left when they return. The event runs in a
// goroutine of Run, which waits for it.
//
// Errors: a failed request is a result. Run and Saturate return an error only when they could not begin.
//
// Read load.go (schedule), conn.go (one exchange, kept connections), class.go (failures), report.go (figures), saturate.go (closed loop).
package load
