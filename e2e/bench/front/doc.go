// Package front drives what takes clients' connections and shares them among servers, as an operator would set it up: NGINX, HAProxy and Caddy
// before servers that the benchmark starts, and meshnode, whose nodes run those servers as workers.
//
// Each gets the configuration that its own documentation advises for speed. What is not installed is errors.ErrUnsupported, which names the
// package to install.
//
// Concurrency: a Front belongs to one goroutine, save that Processes may be called from any.
//
// Errors: of what was run, with what it printed last.
//
// Read front.go (the interface, the servers), proxy.go (what NGINX, HAProxy and Caddy have in common), nginx.go, haproxy.go, caddy.go, certs.go
// (TLS to the servers), limits.go (how many connections), mesh.go (meshnode).
package front
