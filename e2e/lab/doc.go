// Package lab is the test bed of the end-to-end tests: real meshnode binaries on several hosts, real Node.js apps, real faults.
//
// A host is a network namespace with an address of its own on a bridge that no other namespace shares. Where namespaces are not allowed
// (no root), a host is a loopback address, and the lab says so; tests of partitions need namespaces. The lab makes its namespaces, names
// them by its process, and removes them; it sends traffic to no other address.
//
// Concurrency: a Lab and its hosts may be used from several goroutines of one test.
//
// Read lab.go (hosts), netns.go (namespaces), node.go (a meshnode on a host), client.go (who sends traffic).
package lab
