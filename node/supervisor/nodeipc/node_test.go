package nodeipc

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// worker is a real Node process, or a tree of them, under its channels, with a listener that the test accepts from.
type worker struct {
	t   *testing.T
	fam *Family
	ch  *Channel // the inherited one
	rec *recorder
	l   net.Listener
	key chan string
	out *outcomes
	end chan error // the process has ended

	proc *os.Process
}

// nodePath is the node in PATH.
func nodePath(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node in PATH: the protocol is not tried on a real worker")
	}
	return node
}

// script writes a program text into a folder of its own and returns its path.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startNode runs text as a cluster worker whose listen calls are answered with one loopback listener.
func startNode(t *testing.T, text string) *worker {
	t.Helper()
	// with -e, Node does not take itself for a cluster worker
	return startTree(t, true, exec.Command(nodePath(t), script(t, "app.js", text)))
}

// startTree runs cmd, which inherits a channel if it is direct.
func startTree(t *testing.T, direct bool, cmd *exec.Cmd) *worker {
	t.Helper()
	return startWith(t, direct, cmd, nil)
}

// startWith is startTree with an answer of the test's own to listen calls; nil is the one loopback listener.
func startWith(t *testing.T, direct bool, cmd *exec.Cmd, reply func(Query) Reply) *worker {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, l: l, key: make(chan string, 4), out: newOutcomes(), end: make(chan error, 1)}
	w.rec = newRecorder(func(q Query) Reply {
		w.key <- q.Key
		if reply != nil {
			return reply(q)
		}
		return Reply{Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Data: q.Data}
	})
	var ours *net.UnixConn
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	if direct {
		var theirs *os.File
		if ours, theirs, err = Pair(); err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		cmd.ExtraFiles = []*os.File{theirs}
		cmd.Env = append(cmd.Env, Environ(3, 1)...)
	}
	if w.fam, err = NewFamily(ours, t.TempDir(), "1", os.Getuid(), w.rec); err != nil {
		t.Fatal(err)
	}
	w.ch = w.fam.root
	preload, err := WritePreload(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(cmd.Env, w.fam.Environ()...)
	cmd.Env = append(cmd.Env, "MESHNODE_WORKER=test/0", "NODE_OPTIONS="+NodeOptions("", preload))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	errs, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = errs, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.proc = cmd.Process
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.fam.Run() })
	wg.Go(func() { w.end <- cmd.Wait() })
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		w.fam.Close()
		l.Close()
		wg.Wait()
		if text, err := os.ReadFile(errs.Name()); t.Failed() && err == nil {
			t.Logf("the worker wrote: %s", text)
		}
		errs.Close()
	})
	return w
}

// dial opens a connection to the listener and returns both ends: the client's, and the descriptor that was accepted.
func (w *worker) dial() (net.Conn, int) {
	w.t.Helper()
	c, err := net.DialTimeout("tcp4", w.l.Addr().String(), limit)
	if err != nil {
		w.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(limit))
	w.t.Cleanup(func() { c.Close() })
	s, err := w.l.Accept()
	if err != nil {
		w.t.Fatal(err)
	}
	return c, descriptor(w.t, s)
}

// descriptor takes the descriptor out of c.
func descriptor(t *testing.T, c net.Conn) int {
	t.Helper()
	f, err := c.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return fd
}

// pass offers fd, waits for what becomes of it, and closes it.
func (w *worker) pass(key string, fd int, remote netip.AddrPort) Outcome {
	w.t.Helper()
	defer unix.Close(fd)
	offer := w.fam.Offer
	if w.ch != nil {
		offer = w.ch.Offer
	}
	if err := offer(key, fd, remote, w.out.of("")); err != nil {
		w.t.Fatal(err)
	}
	return await(w.t, "outcome of the offer", w.out.c)
}

// message returns the app's next message as text.
func (w *worker) message() string {
	w.t.Helper()
	var s string
	raw := await(w.t, "message of the app", w.rec.messages)
	if err := json.Unmarshal(raw, &s); err != nil {
		w.t.Fatalf("message %s: %v", raw, err)
	}
	return s
}

// client is one keep-alive connection.
type client struct {
	c net.Conn
	r *bufio.Reader
}

func (w *worker) get(c client) (body string, closes bool) {
	w.t.Helper()
	if _, err := io.WriteString(c.c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		w.t.Fatal(err)
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b), res.Close
}

const echoAddress = `
	const server = require('http').createServer((req, res) => res.end(req.socket.remoteAddress + ' ' + req.socket.remotePort));
	server.listen(3000);
	process.on('message', (m) => process.send(m));
`

func TestNodeServesWhatItIsPassed(t *testing.T) {
	w := startNode(t, echoAddress)
	key := await(t, "listen call", w.key)
	if key != "null:3000:4" {
		t.Errorf("key %q", key)
	}
	await(t, "listening", w.rec.listening)
	c, fd := w.dial()
	if o := w.pass(key, fd, netip.AddrPort{}); o != Accepted {
		t.Fatalf("outcome %d", o)
	}
	kept := client{c, bufio.NewReader(c)}
	local := c.LocalAddr().(*net.TCPAddr).AddrPort()
	for range 2 {
		if body, closes := w.get(kept); body != local.Addr().String()+" "+port(local) || closes {
			t.Errorf("answer %q closes %v, want the client's own address %s on a kept connection", body, closes, local)
		}
	}

	if o := w.pass("null:4000:4", spareSocket(t), netip.AddrPort{}); o != Refused {
		t.Errorf("an offer to a server that is not there: %d", o)
	}

	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	uc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer uc.Close()
	uc.SetDeadline(time.Now().Add(limit))
	if o := w.pass(key, fds[1], netip.MustParseAddrPort("203.0.113.9:4711")); o != Accepted {
		t.Fatalf("outcome %d", o)
	}
	forwarded := client{uc, bufio.NewReader(uc)}
	if body, closes := w.get(forwarded); body != "203.0.113.9 4711" || closes {
		t.Errorf("a forwarded connection shows %q closes %v, want its client's address on a kept connection", body, closes)
	}

	// The server that forwards is about to stop: its clients are to leave, and nobody else.
	if err := w.ch.Part(); err != nil {
		t.Fatal(err)
	}
	for closes := false; !closes; { // as below
		_, closes = w.get(forwarded)
	}
	if _, err := forwarded.r.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close the worker closes a forwarded connection: %v", err)
	}
	if _, closes := w.get(kept); closes {
		t.Error("a connection that no other server forwarded is closed too")
	}

	if err := w.ch.Drain(); err != nil {
		t.Fatal(err)
	}
	for closes := false; !closes; { // the request may overtake the message, on another descriptor
		_, closes = w.get(kept)
	}
	if _, err := kept.r.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close the worker closes: %v", err)
	}
	if err := w.ch.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "close of the server", w.rec.unlisten); got != key {
		t.Errorf("closed %q", got)
	}
	if err := await(t, "end of the worker", w.end); err != nil {
		t.Errorf("the worker ended with %v, want code 0", err)
	}
}

// spareSocket is an accepted connection whose client is gone.
func spareSocket(t *testing.T) int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fds[0])
	return fds[1]
}

func port(a netip.AddrPort) string { _, p, _ := strings.Cut(a.String(), ":"); return p }

func TestNodeListeningTwiceIsInUse(t *testing.T) {
	w := startNode(t, `
		const net = require('net');
		const a = net.createServer().listen(3000, () => {
			net.createServer().on('error', (e) => {
				process.send(e.code);
				a.close(() => net.createServer().listen(3000, () => process.send('again')));
			}).listen(3000);
		});`)
	for _, want := range []string{"EADDRINUSE", "again"} {
		if got := w.message(); got != want {
			t.Errorf("the app says %q, want %q", got, want)
		}
	}
}

// A handle that the app sends must be acknowledged, or Node holds back all its later messages.
func TestNodeSendsAHandle(t *testing.T) {
	w := startNode(t, `
		const s = require('net').createServer();
		s.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => { process.send('with', s); process.send('after'); });`)
	if got := w.message(); got != "after" {
		t.Errorf("the app says %q", got)
	}
}

func TestNodeAsksForManyForms(t *testing.T) {
	w := startNode(t, `
		const net = require('net');
		net.createServer().listen({ host: '::1', port: 5000, ipv6Only: true }, () =>
			net.createServer().listen('/tmp/x.sock', () =>
				net.createServer().listen(0, () => process.send('done'))));`)
	if got := w.message(); got != "done" {
		t.Fatalf("the app says %q", got)
	}
	for _, want := range []string{"::1:5000:6", "/tmp/x.sock:-1:-1", "null:0:4:0"} {
		if key := await(t, "listen call", w.key); key != want {
			t.Errorf("key %q, want %q", key, want)
		}
	}
}

// A worker that is killed before it looked at an offer has not read a byte of it.
func TestNodeWorkerDiesWithAnOfferOpen(t *testing.T) {
	w := startNode(t, `require('net').createServer().listen(3000, () => process.send('stuck', () => { for (;;); }));`)
	key := await(t, "listen call", w.key)
	if got := w.message(); got != "stuck" {
		t.Fatalf("the app says %q", got)
	}
	if err := w.ch.Offer(key, spare(t), netip.AddrPort{}, w.out.of("")); err != nil {
		t.Fatal(err)
	}
	if err := w.proc.Kill(); err != nil {
		t.Fatal(err)
	}
	if o := await(t, "outcome of the offer", w.out.c); o != Lost {
		t.Errorf("outcome %d", o)
	}
	await(t, "end of the worker", w.end)
}

func TestNodeOptionsAreKept(t *testing.T) {
	if got, want := NodeOptions("--max-old-space-size=100", `/a "b"\c`), `--max-old-space-size=100 --require "/a \"b\"\\c"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
