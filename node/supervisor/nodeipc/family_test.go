package nodeipc

import (
	"bufio"
	"net/netip"
	"os/exec"
	"testing"
)

// served checks that a server of the worker answers on key through a passed connection, and that the worker then ends when it is told to.
func (w *worker) served(want string) client {
	w.t.Helper()
	key := await(w.t, "listen call", w.key)
	if key != "null:3000:4" {
		w.t.Errorf("key %q", key)
	}
	await(w.t, "listening", w.rec.listening)
	kept := w.open(key)
	for range 2 {
		if body, closes := w.get(kept); body != want || closes {
			w.t.Errorf("answer %q closes %v, want %q on a kept connection", body, closes, want)
		}
	}
	return kept
}

// open passes a new connection to whoever holds key.
func (w *worker) open(key string) client {
	w.t.Helper()
	c, fd := w.dial()
	w.ch = nil // not to the inherited channel
	if o := w.pass(key, fd, netip.AddrPort{}); o != Accepted {
		w.t.Fatalf("outcome %d", o)
	}
	return client{c, bufio.NewReader(c)}
}

const hello = `require('http').createServer((q, s) => s.end('hello')).listen(3000);`

// What hides a server from Node's cluster module is caught all the same.
func TestNodeServerBelowTheStartedProcess(t *testing.T) {
	node := nodePath(t)
	app := script(t, "app.js", hello)
	for name, cmd := range map[string]*exec.Cmd{
		"shell":  exec.Command("sh", "-c", node+" "+app+"; :"),
		"watch":  exec.Command(node, "--watch", app),
		"thread": exec.Command(node, script(t, "thread.js", `new (require('worker_threads').Worker)('`+app+`')`)),
		"child":  exec.Command(node, script(t, "child.js", `require('child_process').fork('`+app+`')`)),
		"exclusive": exec.Command(node, script(t, "exclusive.js",
			`require('http').createServer((q, s) => s.end('hello')).listen({ port: 3000, exclusive: true });`)),
		"own cluster": exec.Command(node, script(t, "cluster.js", `
			const cluster = require('cluster');
			if (cluster.isPrimary) { cluster.fork(); cluster.fork(); } else require('`+app+`');`)),
	} {
		for how, direct := range map[string]bool{" with a channel": true, " without one": false} {
			if direct && name == "shell" {
				continue // all of its children would share it
			}
			t.Run(name+how, func(t *testing.T) {
				cmd := exec.Command(cmd.Path, cmd.Args[1:]...)
				w := startTree(t, direct, cmd)
				w.served("hello")
			})
		}
	}
}
