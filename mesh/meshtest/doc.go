// Package meshtest is a network in memory for tests: hosts with addresses, packets and streams between them, and faults to order (loss,
// delay, cuts in one direction or both, hosts that stop or die).
//
// It needs no socket and no real time, so that gossip runs in testing/synctest bubbles with production time-outs. Unlike memberlist's own mock
// transport nothing in it waits for ever: a dial to a host that is gone fails, a dial to a host out of reach ends with its context.
//
// It is for tests only and knows nothing of package mesh: it hands out net.PacketConn, net.Listener and dial functions.
//
// Concurrency: every method may be called from any goroutine. Create the network inside the bubble that uses it, and Close it there: Close
// waits for every goroutine of the network. Streams are pipes: a write ends when the bytes have been taken up, and there is room for one
// chunk in between.
//
// Errors: those of package net, such as syscall.ECONNREFUSED inside *net.OpError.
//
// Files in reading order: network.go (hosts, faults), packet.go (packets), stream.go (streams).
package meshtest
