// Command demo shows a cluster on one machine: three nodes on three loopback addresses, an ordinary Node.js server on each core of them, and
// where the requests go that are sent to one address. "make demo" runs it; it stays until Ctrl-C.
//
// It is no test bed: package e2e/lab is. It uses meshnode as an operator does, through the command line only.
//
// Concurrency: nodes are started from the main thread, because the kernel ends them with the thread that started them; that is how none
// outlives a demo that was killed.
//
// Errors: one line that says what is in the way. Whatever happens, the processes and the folder it made are gone at the end.
//
// Read main.go (what happens, in order), nodes.go (processes), traffic.go (requests and their table).
package main
