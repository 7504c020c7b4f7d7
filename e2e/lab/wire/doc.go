// Package wire is an Ethernet switch in user space, with bad cables: it joins network namespaces by TAP devices and delays, loses or cuts
// what passes between two of them, each direction on its own. Kernels without netem can be tested with it.
//
// It is not a model of a network: bandwidth is what two cores give, and frames of one direction never overtake each other, however much
// their delays differ.
//
// Concurrency: a Switch may be used from any goroutine. Each port has a goroutine that reads, each direction one that delivers; Close ends
// all of them and waits.
//
// Errors: what cannot be plugged in is an error; frames that cannot be delivered are counted.
//
// Read wire.go (the switch and its rules), path.go (one direction between two ports), tap.go (devices in namespaces).
package wire
