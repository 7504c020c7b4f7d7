// Package telemetry is the one room that configures logs and metrics; all others are handed a logger and a metrics instance.
//
// It measures nothing itself. hashicorp/raft and memberlist emit to the global instance of hashicorp/go-metrics, the renamed successor of
// the module that we use; a bridge takes theirs into ours, or they would be lost without a word.
//
// Concurrency: everything is set up once, before raft and memberlist start.
//
// Read logging.go, metrics.go, bridge.go, http.go.
package telemetry
