// Command goapp is the demo's app where there is no Node.js: a server like any other, which listens on the port that PORT names.
//
// It is no example of good servers; it answers who it is, and nothing else.
//
// Concurrency: that of net/http; requests share nothing.
//
// Errors: a port that cannot be opened ends it with code 1.
package main
