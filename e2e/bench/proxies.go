package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"meshnode/e2e/bench/front"
)

// Kinds of jobs before which a front stands.
const (
	kindForward = "forward"
	kindHeld    = "held"
	kindSkew    = "skew"
	kindCell    = "cell"
	kindLost    = "lost"
)

// The fronts.
const (
	nginx       = "nginx"
	nginxHTTP   = "nginx http"
	haproxy     = "haproxy"
	haproxyHTTP = "haproxy http"
	haproxyTLS  = "haproxy tls"
	caddy       = "caddy"
	meshTLS     = "meshnode tls"
)

// least asks a front for the policy of that name.
const least = "/least connections"

func proxyJobs() []job {
	var out []job
	add := func(kind, name, mode string, who ...string) {
		for _, w := range who {
			out = append(out, job{Kind: kind, Name: name, Mode: mode, Contender: w})
		}
	}
	add(kindForward, toCheap, "", nginx, haproxy, meshnode, haproxyTLS, meshTLS, nginxHTTP, haproxyHTTP, caddy)
	add(kindForward, toNode, "", nginx, haproxy, meshnode, meshTLS)
	add(kindHeld, "idle connections", "", nginx, haproxy, meshnode, meshTLS)
	for _, mode := range []string{newConns, keepAlive} {
		who := []string{nginxHTTP + least, haproxyHTTP + least, caddy + least}
		if mode == newConns {
			who = append(who, meshnode, nginx+least, haproxy+least)
		}
		add(kindSkew, "one of four servers ten times slower", mode, who...)
	}
	for _, name := range []string{cellEqual, cellSlow} {
		add(kindCell, name, "", meshnode, meshnode+"/round robin", meshnode+least, meshnode+"/random")
	}
	for _, name := range []string{killed, stopped} {
		add(kindLost, "a server "+name, keepAlive, nginx, nginxHTTP, haproxy, haproxyHTTP, caddy, meshnode)
	}
	return append(out, supervisorJobs()...)
}

// isFront reports whether a job has a front, and no supervisor.
func (j job) isFront() bool {
	switch j.Kind {
	case kindForward, kindHeld, kindSkew, kindCell, kindLost:
		return true
	}
	return false
}

// openLoop reports whether a job measures latencies, and has to be scheduled at once whatever else the machine does.
func (j job) openLoop() bool {
	switch j.Kind {
	case kindSkew, kindCell, kindLost, kindWorkerLost:
		return true
	}
	return false
}

// runFront runs a job with a front.
func runFront(ctx context.Context, j job, r *result) (err error) {
	f, err := front.New(j.Contender, j.Bin, j.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if os.Geteuid() != 0 { // in namespaces of its own everything ends with the job
			err = errors.Join(err, f.Close())
		}
	}()
	switch j.Kind {
	case kindForward:
		err = runForward(ctx, j, f, r)
	case kindHeld:
		err = runHeld(ctx, j, f, r)
	case kindSkew:
		err = runSkew(ctx, j, f, r)
	case kindCell:
		err = runCell(ctx, j, f, r)
	case kindLost:
		err = runLost(ctx, j, f, r)
	}
	if err == nil {
		r.Version, err = f.Version(ctx)
		if strings.HasPrefix(j.Contender, meshnode) {
			r.Version = "meshnode " + strings.TrimPrefix(r.Version, "meshnode ")
		}
	}
	return err
}

// server is the command line of one of the benchmark's own servers.
func (j job) server(kind string) ([]string, error) {
	self, err := os.Executable()
	return []string{self, serverWord, kind}, err
}

// settled gives health checks and just-in-time compilers a moment.
func settled() { time.Sleep(1500 * time.Millisecond) }

// nodeApp is the benchmark's app as a command of its own.
func (j job) nodeApp() ([]string, error) {
	script := filepath.Join(j.Dir, "app.js")
	return []string{"node", script}, j.install("app.js", script)
}
