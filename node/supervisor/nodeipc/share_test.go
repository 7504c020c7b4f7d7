package nodeipc

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sharing answers every listen call with a duplicate of one socket.
func sharing(t *testing.T, socket interface{ File() (*os.File, error) }) func(Query) Reply {
	return func(q Query) Reply {
		f, err := socket.File()
		if err != nil {
			t.Error(err)
			return Reply{Errno: -1}
		}
		return Reply{Share: f}
	}
}

// Two workers have one datagram socket; each datagram is answered while they come and go.
func TestNodeDatagramsAreShared(t *testing.T) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := func() *exec.Cmd {
		return exec.Command(nodePath(t), script(t, "app.js", `
			const s = require('dgram').createSocket('udp4');
			s.on('message', (m, from) => s.send(m + ' ' + process.pid, from.port, from.address));
			s.bind(5353, () => process.send('bound to ' + s.address().port));`))
	}
	start := func() *worker {
		w := startWith(t, true, cmd(), sharing(t, socket))
		if key := await(t, "listen call", w.key); key != "0.0.0.0:5353:udp4" {
			t.Errorf("key %q", key)
		}
		await(t, "listening", w.rec.listening)
		if got, want := w.message(), fmt.Sprint("bound to ", socket.LocalAddr().(*net.UDPAddr).Port); got != want {
			t.Errorf("the app is %s, want %s", got, want)
		}
		return w
	}
	client, err := net.DialUDP("udp4", nil, socket.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	by := make(map[string]int)
	n := 0
	// volley sends some at once and wants all answered.
	volley := func() {
		t.Helper()
		missing := make(map[string]bool)
		for range 50 {
			n++
			missing[fmt.Sprint(n)] = true
			fmt.Fprint(client, n)
		}
		client.SetReadDeadline(time.Now().Add(limit))
		for b := make([]byte, 100); len(missing) > 0; {
			k, err := client.Read(b)
			if err != nil {
				t.Fatalf("%d datagrams were not answered: %v", len(missing), err)
			}
			number, pid, _ := strings.Cut(string(b[:k]), " ")
			delete(missing, number)
			by[pid]++
		}
	}
	a := start()
	volley()
	for range 3 { // as a reload does
		b := start()
		volley()
		if err := a.fam.Disconnect(); err != nil {
			t.Fatal(err)
		}
		volley()
		await(t, "close of the socket", a.rec.unlisten)
		if err := await(t, "end of the worker", a.end); err != nil {
			t.Errorf("the worker ended with %v", err)
		}
		volley()
		a = b
	}
	if len(by) != 4 {
		t.Errorf("answers by process: %v, want 4 processes", by)
	}
	t.Logf("%d datagrams, all answered: %v", n, by)
}

func TestNodeUnixListenerIsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	var ws []*worker
	for range 2 {
		w := startWith(t, true, exec.Command(nodePath(t), script(t, "app.js",
			`require('http').createServer((q, s) => s.end('hello')).listen('`+path+`', () => process.send('up'));`)), sharing(t, l))
		if key := await(t, "listen call", w.key); key != path+":-1:-1" {
			t.Errorf("key %q", key)
		}
		await(t, "listening", w.rec.listening)
		w.message()
		ws = append(ws, w)
	}
	for _, w := range ws {
		for range 20 {
			c, err := net.DialTimeout("unix", path, limit)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(limit))
			if err := hears(c, "hello"); err != nil {
				t.Errorf("over %s: %v", path, err)
			}
			c.Close()
		}
		if w == ws[0] { // the other one goes on
			if err := w.fam.Disconnect(); err != nil {
				t.Fatal(err)
			}
			await(t, "close of the server", w.rec.unlisten)
			await(t, "end of the worker", w.end)
		}
	}
}
