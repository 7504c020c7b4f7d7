// Package reuseport is what every choice among the sockets of one address in the kernel has in common: the table of those sockets, and the end of the
// program that chooses. Who is chosen is the caller's: balancer/proxy by the load of workers, balancer/datagram by whose a client is.
//
// Concurrency: the caller's locks.
//
// Errors: ErrKernel, where the kernel or this user's rights do not allow it.
//
// Files in reading order: sockets_linux.go.
package reuseport
