package nodeipc

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reporting is an app that talks to its own primary, as another may, and whose clients say how long a request takes.
const reporting = `
	process.on('message', (m) => process.send(['the app sees', m]));
	const server = require('http').createServer((q, s) => {
		const until = Date.now() + Number(q.url.slice(1));
		while (Date.now() < until);
		s.end('hello');
	});
	server.keepAliveTimeout = 600e3; // or Node would close what a slow test lets idle
	server.listen(3000, () => process.send('up'));`

// startOwn starts a worker that is given a listening socket of its own, whose address is returned.
func startOwn(t *testing.T, text string) (w *worker, key, addr string) {
	t.Helper()
	own, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(own.Addr().String()) // Node takes another than it asked for to be in use
	text = strings.Replace(text, "3000", port, 1)
	asked := make(chan Query, 1)
	w = startWith(t, true, exec.Command(nodePath(t), script(t, "app.js", text)), func(q Query) Reply {
		asked <- q
		f, err := own.(*net.TCPListener).File()
		if err != nil {
			t.Error(err)
		}
		own.Close() // the worker alone accepts
		return Reply{Share: f, Address: "127.0.0.1", Port: own.Addr().(*net.TCPAddr).Port, Data: q.Data}
	})
	key = await(t, "listen call", w.key)
	if q := await(t, "question", asked); !q.Own {
		t.Error("the worker can take a socket of its own, and does not say so")
	}
	await(t, "listening", w.rec.listening)
	if m := w.message(); m != "up" {
		t.Errorf("the app says %q", m)
	}
	return w, key, own.Addr().String()
}

// says waits for a report that is as wanted.
func (w *worker) says(what string, want func(Load) bool) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("last report: %+v", w.rec.load.Load())
		}
	}()
	eventually(w.t, what, func() bool { l := w.rec.load.Load(); return l != nil && want(*l) })
}

func dialKept(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	return c
}

func ask(t *testing.T, c net.Conn, ms int) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", ms); err != nil {
		t.Fatal(err)
	}
	answered(t, c)
}

// answered reads the answer to a request that was sent.
func answered(t *testing.T, c net.Conn) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "hello" {
		t.Fatalf("answer %q, %v", b, err)
	}
}

// passOne gives the worker one connection as the node does, and returns the client's end.
func (w *worker) passOne(key string) net.Conn {
	w.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	outcome := make(chan Outcome, 1)
	if err := w.fam.Offer(key, fds[1], netip.AddrPort{}, func(o Outcome) { outcome <- o }); err != nil {
		w.t.Fatal(err)
	}
	unix.Close(fds[1])
	if o := await(w.t, "outcome", outcome); o != Accepted {
		w.t.Fatalf("outcome %d", o)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	return c
}

// TestNodeReportsWhatItAccepts: connections that were passed one by one are not among them, and the app's own talk is not disturbed.
func TestNodeReportsWhatItAccepts(t *testing.T) {
	w, key, addr := startOwn(t, reporting)
	w.says("a first report", func(l Load) bool { n, ok := l.Taken[key]; return ok && n == 0 && l.Open == 0 && !l.Shut && !l.Held })
	direct := []net.Conn{dialKept(t, addr), dialKept(t, addr)}
	passed := w.passOne(key)
	for range 3 {
		ask(t, direct[0], 0)
		ask(t, passed, 0)
	}
	w.says("two of its own", func(l Load) bool { return l.Taken[key] == 2 && l.Open == 2 })
	passed.Close()
	direct[1].Close()
	w.says("one left", func(l Load) bool { return l.Taken[key] == 2 && l.Open == 1 })
	before := *w.rec.load.Load()
	for range 20 {
		c := dialKept(t, addr)
		ask(t, c, 5)
		c.Close()
	}
	// The app's clock has whole milliseconds: its 5 are more than 4.
	w.says("times of some", func(l Load) bool {
		n := l.Timed - before.Timed
		return n > 0 && l.Spent-before.Spent >= 4*float64(n)
	})

	// Another life of the node counts what this one passed as the worker's own.
	again := w.passOne(key)
	ask(t, again, 0)
	if err := w.ch.send(plain{Cmd: cmdPreload, Act: "adopt"}); err != nil {
		t.Fatal(err)
	}
	w.says("the passed one too", func(l Load) bool { return l.Open == 2 })
	later := w.passOne(key)
	again.Close()
	w.says("one less", func(l Load) bool { return l.Open == 1 })
	ask(t, later, 0)

	if err := w.fam.Send([]byte(`"hi"`)); err != nil {
		t.Fatal(err)
	}
	if m := string(await(t, "answer of the app", w.rec.messages)); m != `["the app sees","hi"]` {
		t.Errorf("the app says %s", m)
	}
}

func TestNodeStopsToAccept(t *testing.T) {
	for _, act := range []string{"shut", "drain"} {
		t.Run(act, func(t *testing.T) {
			w, key, addr := startOwn(t, reporting)
			kept := dialKept(t, addr)
			ask(t, kept, 0)
			do := w.fam.Shut
			if act == "drain" {
				do = w.fam.Drain
			}
			if err := do(); err != nil {
				t.Fatal(err)
			}
			w.says("that it is shut", func(l Load) bool { return l.Shut && l.Open == 1 })
			if c, err := net.DialTimeout("tcp4", addr, limit); err == nil {
				c.Close()
				t.Error("its socket is still open")
			}
			ask(t, kept, 0)
			passed := w.passOne(key) // the server is there
			ask(t, passed, 0)
			if err := w.fam.Disconnect(); err != nil {
				t.Fatal(err)
			}
			if got := await(t, "close of the server", w.rec.unlisten); got != key {
				t.Errorf("closed %q", got)
			}
			kept.Close()
			passed.Close() // Node 18 leaves connections that idle open
			if err := await(t, "end of the worker", w.end); err != nil {
				t.Errorf("the worker ended with %v", err)
			}
		})
	}
}

func TestNodeSaysThatTheAppHasALimit(t *testing.T) {
	w, _, _ := startOwn(t, strings.Replace(reporting, "server.listen", "server.maxConnections = 7; server.listen", 1))
	w.says("limit", func(l Load) bool { return l.Held })
}

func TestNodeReportsItsEventLoop(t *testing.T) {
	w, _, addr := startOwn(t, reporting)
	w.says("idle", func(l Load) bool { return l.Idle > 0 })
	eventually(t, "a low figure", func() bool { share, ok := w.fam.Busy(); return ok && share < 0.2 })
	c := dialKept(t, addr)
	before := w.rec.loads.Load()
	fmt.Fprint(c, "GET /1500 HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "silence", func() bool { return w.fam.Quiet() >= quietAfter })
	eventually(t, "a high figure", func() bool { share, _ := w.fam.Busy(); return share > 0.5 })
	answered(t, c)
	eventually(t, "words again", func() bool { return w.fam.Quiet() == 0 && w.rec.loads.Load() > before })
}

// TestNodeReportsKeepNothingAlive: an app whose work is done ends.
func TestNodeReportsKeepNothingAlive(t *testing.T) {
	w := startNode(t, `process.send('up'); process.disconnect();`)
	w.message()
	if err := await(t, "end of the worker", w.end); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
}

// TestQuietIsOfThoseThatReport: an older preload answers pings, and no more.
func TestQuietIsOfThoseThatReport(t *testing.T) {
	rec := newRecorder(nil)
	ch, p, _ := connect(t, rec)
	p.say(`{"cmd":"NODE_MESHNODE","act":"hello","version":1}`)
	eventually(t, "hello", ch.Preloaded)
	if _, ok := ch.Busy(); ok || ch.Quiet() != 0 || ch.reports() {
		t.Error("it never reported")
	}
	p.say(`{"cmd":"NODE_MESHNODE","act":"load","load":{"open":3,"taken":{"k":4},"active":25,"idle":75}}`)
	eventually(t, "report", func() bool { return rec.load.Load() != nil })
	if l := rec.load.Load(); l.Open != 3 || l.Taken["k"] != 4 || !ch.reports() {
		t.Errorf("heard %+v", l)
	}
	if share, ok := ch.Busy(); !ok || share <= 0 || share > 0.25 {
		t.Errorf("busy %v, %v", share, ok)
	}
}
