package nodeipc

import (
	"bufio"
	"fmt"
	"net"
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

// A server that was caught below the started process behaves as any.
func TestNodeCaughtServerIsAServer(t *testing.T) {
	nodePath(t)
	app := script(t, "app.js", `
		const assert = require('assert'), net = require('net');
		process.on('warning', (w) => { throw w; });
		const a = net.createServer();
		a.listen({ port: 3000, host: '127.0.0.1' }, () => {
			assert.strictEqual(a.listening, true);
			assert.deepStrictEqual(a.address(), { address: '127.0.0.1', family: 'IPv4', port: 3000 });
			a.getConnections((e, n) => assert.deepStrictEqual([e, n], [null, 0]));
			net.createServer().on('error', (e) => {
				assert.deepStrictEqual([e.code, e.syscall, e.port, e.address], ['EADDRINUSE', 'listen', 3000, '127.0.0.1']);
				a.close(() => {
					assert.strictEqual(a.address(), null);
					a.listen(3000, '127.0.0.1', () => {
						const free = net.createServer().listen(0, () => { // private, as it would be without us
							assert.ok(free.address().port > 1024 && free.address().port !== 3000);
							free.close();
							a.unref(); // and nothing keeps the process
						});
					});
				});
			}).listen(3000, '127.0.0.1');
		});`)
	w := startTree(t, false, exec.Command("sh", "-c", "node --pending-deprecation "+app+"; exit $?"))
	if err := await(t, "end of the worker", w.end); err != nil {
		t.Errorf("the app ended with %v", err)
	}
	for range 2 {
		if key := await(t, "listen call", w.key); key != "127.0.0.1:3000:4" {
			t.Errorf("key %q", key)
		}
	}
	select {
	case key := <-w.key:
		t.Errorf("asked for %q too", key)
	default:
	}
}

// Without us the app binds its port itself.
func TestNodeServerThatCannotAsk(t *testing.T) {
	nodePath(t)
	for name, prefix := range map[string]string{"nobody there": "MESHNODE_IPC=/nowhere ", "not Node as we know it": "BROKEN=1 "} {
		t.Run(name, func(t *testing.T) {
			free, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			port := free.Addr().(*net.TCPAddr).Port
			free.Close()
			text := fmt.Sprintf(`
				if (process.env.BROKEN) require('net').Socket.prototype.connect = function () { return this; }; // and so has no handle
				require('net').createServer((s) => s.end('by myself')).listen(%d, '127.0.0.1');`, port)
			w := startTree(t, false, exec.Command("sh", "-c", prefix+"node "+script(t, "own.js", text)+"; :"))
			eventually(t, "answer", func() bool {
				c, err := net.DialTimeout("tcp4", fmt.Sprint("127.0.0.1:", port), limit)
				if err != nil {
					return false
				}
				defer c.Close()
				return true
			})
			select {
			case key := <-w.key:
				t.Errorf("asked for %q", key)
			default:
			}
		})
	}
}
