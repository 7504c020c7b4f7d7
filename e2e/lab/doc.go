// Package lab is the test bed of the end-to-end tests: real meshnode binaries on several hosts, real Node.js apps, real faults.
//
// A host is a network namespace with an address of its own. What joins them is the kernel's bridge (New), a switch with cables that delay,
// lose and cut (NewWired), or a router, so that each host has one neighbour and there may be many (NewRouted). Where namespaces are not
// allowed (no root), a host of New is a loopback address, and the lab says so; the others skip their tests. The lab makes its namespaces,
// names them by its process, and removes them; it sends traffic to no other address.
//
// Concurrency: a Lab and its hosts may be used from several goroutines of one test.
//
// Read lab.go (hosts), netns.go (namespaces), bridge.go, wired.go and routed.go (what joins them), node.go (a meshnode on a host), process.go
// (its processes), clock.go and disk.go (their time, and what they write to), client.go (who sends traffic).
package lab
