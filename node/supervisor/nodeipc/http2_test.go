package nodeipc

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// http2Client is a Node.js program that has four sessions, each with four requests under way at any time, until it is asked to leave. It says
// how far it is after each 200 answers, and at the end. What was refused was on its way when the server said GOAWAY, and nobody has seen it.
const http2Client = `
	const http2 = require('http2');
	const { NGHTTP2_REFUSED_STREAM } = http2.constants;
	const out = { answered: 0, refused: 0, failed: [], left: 0 };
	const tell = () => console.log(JSON.stringify(out));
	let open = 4;
	for (let i = 0; i < 4; i++) {
		const session = http2.connect(process.argv[2], { rejectUnauthorized: false });
		session.on('error', (e) => out.failed.push('session: ' + e.message));
		session.once('goaway', (code) => { if (code === 0) out.left++; });
		session.on('close', () => { if (--open === 0) tell(); });
		for (const ms of [0, 0, 1, 20]) {
			const ask = () => {
				if (session.closed) return;
				let body = '';
				const stream = session.request({ ':path': '/' + ms }).setEncoding('utf8').on('error', () => {});
				stream.on('data', (text) => { body += text; }).on('close', () => {
					if (body === 'hello') { if (++out.answered % 200 === 0) tell(); }
					else if (body === '' && stream.rstCode === NGHTTP2_REFUSED_STREAM) out.refused++;
					else out.failed.push(ms + ' ms: ' + body + ' ' + stream.rstCode);
					setImmediate(ask);
				});
			};
			ask();
		}
	}`

// progress is what the client says.
type progress struct {
	Answered int
	Refused  int
	Failed   []string
	Left     int
}

// clientOf starts the client against a URL.
func clientOf(t *testing.T, url string) *bufio.Scanner {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, nodePath(t), script(t, "client.js", http2Client), url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(out)
}

func saysNext(t *testing.T, lines *bufio.Scanner) (p progress) {
	t.Helper()
	if !lines.Scan() {
		t.Fatal("the client has ended")
	}
	if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, lines.Bytes())
	}
	return p
}

// leavesWhole reads the client's words until all of its sessions have ended.
func leavesWhole(t *testing.T, what string, lines *bufio.Scanner) {
	t.Helper()
	var last progress
	for lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
	}
	if last.Left != 4 || len(last.Failed) > 0 {
		t.Errorf("%s: %+v, want 4 that left, and nothing lost", what, last)
	}
}

// door is the URL of a listener from which all connections go to whoever holds key, as if they came from remote.
func (w *worker) door(scheme, key string, remote netip.AddrPort) string {
	w.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := w.give(key, c, remote); err != nil {
				w.t.Errorf("a connection of a client is not taken: %v", err)
			}
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return scheme + "://" + l.Addr().String()
}

// Clients of HTTP/2 are asked to leave and lose nothing: those that another server forwarded when that one is about to stop, and all when the worker
// is. So are clients that speak HTTP/1.1 to the same server.
func TestNodeAsksHTTP2ClientsToLeave(t *testing.T) {
	dir, pool := certificate(t)
	app := script(t, "app.js", `
		const fs = require('fs'), http2 = require('http2'), dir = '`+dir+`';
		const keys = { key: fs.readFileSync(dir + '/key.pem'), cert: fs.readFileSync(dir + '/cert.pem'), allowHTTP1: true };
		const answer = (q, s) => setTimeout(() => s.end('hello'), Number(q.url.slice(1)));
		http2.createServer(answer).listen(3000, () => http2.createSecureServer(keys, answer).listen(3001));`)
	peer := netip.MustParseAddrPort("203.0.113.9:4711")
	for name, direct := range map[string]bool{"started": true, "below a shell": false} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(nodePath(t), app)
			if !direct {
				cmd = exec.Command("sh", "-c", "node "+app+"; :")
			}
			w := startTree(t, direct, cmd)
			plain, secure := await(t, "listen call", w.key), await(t, "listen call", w.key)
			await(t, "listening", w.rec.listening)
			await(t, "listening", w.rec.listening)
			forwarded := []*bufio.Scanner{clientOf(t, w.door("http", plain, peer)), clientOf(t, w.door("https", secure, peer))}
			own := []*bufio.Scanner{clientOf(t, w.door("http", plain, netip.AddrPort{})), clientOf(t, w.door("https", secure, netip.AddrPort{}))}
			old := w.oldFashioned(w.door("https", secure, peer), pool)
			for _, lines := range append(forwarded, own...) {
				saysNext(t, lines)
			}
			if err := w.fam.Part(); err != nil {
				t.Fatal(err)
			}
			for _, lines := range forwarded {
				leavesWhole(t, "the server that forwards stops", lines)
			}
			for closes := false; !closes; {
				_, closes = w.get(old)
			}
			for _, lines := range own {
				for range 2 {
					if p := saysNext(t, lines); p.Left > 0 || p.Refused > 0 || len(p.Failed) > 0 {
						t.Errorf("a client that no other server forwarded: %+v", p)
					}
				}
			}
			if err := w.fam.Drain(); err != nil {
				t.Fatal(err)
			}
			for _, lines := range own {
				leavesWhole(t, "the worker stops", lines)
			}
		})
	}
}

// oldFashioned is a connection of HTTP/1.1 over TLS that is kept.
func (w *worker) oldFashioned(url string, pool *x509.CertPool) client {
	w.t.Helper()
	c, err := tls.Dial("tcp4", strings.TrimPrefix(url, "https://"), &tls.Config{RootCAs: pool})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(limit))
	kept := client{c, bufio.NewReader(c)}
	if body, closes := w.get(kept); body != "hello" || closes {
		w.t.Fatalf("HTTP/1.1: %q, closes %v", body, closes)
	}
	return kept
}
