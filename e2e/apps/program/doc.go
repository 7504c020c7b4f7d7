// Command program is the end-to-end tests' stand-in for any server that is no Node.js: it serves on the socket that it inherits
// (LISTEN_FDS), else on the port in PORT, else on a port of its own. It has no handler of signals: a stop ends it on the spot.
//
// Concurrency: that of net/http; requests share nothing.
//
// Errors: a port that cannot be opened ends it with code 1.
package main
