// Package contender drives what the benchmark compares, as an operator would: through command lines and files. PM2, meshnode, Node's
// cluster module, and workers that inherit a socket. Another one is one more file with the six methods of Contender.
//
// What a contender has no word for is errors.ErrUnsupported, which the benchmark shows as such and counts for nobody.
//
// Concurrency: a Contender belongs to one goroutine, save that Processes may be called from any.
//
// Errors: of what was run, with what it printed last.
//
// Read contender.go (the interface), appfile.go (the file both understand), meshnode.go, pm2.go,
// nodecluster.go, inherit.go, command.go (running a command line), proc.go (what the kernel says of processes).
package contender
