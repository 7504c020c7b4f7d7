// Package reconcile makes this node match the cluster's configuration: Plan compares what should run with what runs and lists the steps
// between, Loop carries them out whenever either side has changed. Next is the rule by which the leader leads a release over the nodes.
//
// It is level-triggered: every round looks at the whole, so a lost event or a failed step is made good by the next round. It
// starts no process and reads no clock; package node gives it both sides and an Actuator.
//
// Concurrency: Plan and Next are pure; Loop.Run calls the Actuator from its caller's goroutine alone.
//
// Errors: none; what a step did shows in the next State.
//
// Read plan.go, loop.go, then turns.go.
package reconcile
