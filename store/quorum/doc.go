// Package quorum decides who votes: which servers join the Raft configuration, which of them get a vote, whose is taken
// away, who is removed.
//
// Plan is pure: it looks at one picture of the cluster and names at most one change. Loop gathers the picture, plans and
// applies, again and again, while this server leads. The package knows neither raft nor gossip; both come in through
// narrow interfaces.
//
// Concurrency: Plan is a function of its inputs. A Loop belongs to the goroutine that calls Run; one Loop runs once.
//
// Errors: what a change fails with is logged and tried again in the next round, from a fresh picture.
//
// Reading order: inputs.go (the picture), plan.go (the rules, in their order), voters.go (votes), loop.go.
package quorum
