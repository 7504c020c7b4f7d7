// Package load measures how busy this server is, and how much its workers use: from /proc, sampled and smoothed.
//
// It decides nothing: balancing looks at connections (package balancer), these figures are for people and for the load record.
//
// Concurrency: Sampler.Run is one goroutine; Busy and Process may be called from any.
//
// Errors: none; what cannot be read is zero.
package load
