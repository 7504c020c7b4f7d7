// Package spec holds the values the cluster agrees on: which apps exist, how many workers each has per node, which
// release is current.
//
// It is pure: no I/O, no clock, no goroutines, and it imports no other package of the project. It does not say how a
// value changes (store/fsm does) nor how a node follows it (node/reconcile does).
//
// Concurrency: values are plain data. A Cluster that came out of the store is shared by many readers and must never be
// changed; take App.Clone before editing one.
//
// Errors: Validate reports every problem at once, joined, each naming the JSON key it is about.
//
// Reading order: app.go (App), process.go and care.go (its parts), secret.go (values nobody is to read), operator.go (people who come from elsewhere), rollout.go (former releases, and which node runs which), validate.go (what is allowed), trust.go (who may join), cluster.go (the whole and its hash).
package spec
