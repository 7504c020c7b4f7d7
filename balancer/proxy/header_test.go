package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

// binaryHeader is a header of version 2, by hand.
func binaryHeader(command, family byte, body string) string {
	return signature + string([]byte{0x20 | command, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(body)))) + body
}

const (
	v4body  = "\x0a\x01\x02\x03\x0a\x00\x00\x01\x04\xd2\x01\xbb" // 10.1.2.3:1234 to 10.0.0.1:443
	alpn    = "\x01\x00\x02h2"
	strange = "\xe7\x00\x05abcde"
)

var headers = []struct {
	name, text    string
	client, local string // "" = the socket's own
}{
	{"text", "PROXY TCP4 10.1.2.3 10.0.0.1 1234 443\r\n", "10.1.2.3:1234", "10.0.0.1:443"},
	{"text, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1234 443\r\n", "[2001:db8::1]:1234", "[2001:db8::2]:443"},
	{"text, unknown", "PROXY UNKNOWN\r\n", "", ""},
	{"text, unknown with more", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "", ""},
	{"binary", binaryHeader(1, 0x11, v4body), "10.1.2.3:1234", "10.0.0.1:443"},
	{"binary, IPv6", binaryHeader(1, 0x21, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x04\xd2\x01\xbb"),
		"[2001:db8::1]:1234", "[2001:db8::2]:443"},
	{"binary, with more", binaryHeader(1, 0x11, v4body+alpn+strange), "10.1.2.3:1234", "10.0.0.1:443"},
	{"binary, long", binaryHeader(1, 0x11, v4body+"\xe7\x0f\xe1"+strings.Repeat("x", headerMax2-headerFixed2-12-3)), "10.1.2.3:1234", "10.0.0.1:443"},
	{"binary, local", binaryHeader(0, 0x00, ""), "", ""},
	{"binary, local with addresses", binaryHeader(0, 0x11, v4body+strange), "", ""},
	{"binary, Unix", binaryHeader(1, 0x31, string(make([]byte, 216))), "", ""},
}

func addrOf(text string) netip.AddrPort {
	if text == "" {
		return netip.AddrPort{}
	}
	return netip.MustParseAddrPort(text)
}

// Whatever piece of a header has come, no byte behind it is taken.
func TestTakeHeader(t *testing.T) {
	for _, tc := range headers {
		t.Run(tc.name, func(t *testing.T) {
			for cut := 0; cut < len(tc.text); cut += 1 + cut/64 {
				fds := pair(t)
				write(t, fds[1], tc.text[:cut])
				if h, err := takeHeader(fds[0]); !errors.Is(err, errIncomplete) {
					t.Fatalf("after %d bytes: %+v, %v", cut, h, err)
				}
				write(t, fds[1], tc.text[cut:]+"GET /")
				h, err := takeHeader(fds[0])
				if err != nil || h != (header{addrOf(tc.client), addrOf(tc.local)}) {
					t.Fatalf("cut at %d: %+v, %v", cut, h, err)
				}
				rest := make([]byte, 64)
				n, err := unix.Read(fds[0], rest)
				if err != nil || string(rest[:n]) != "GET /" {
					t.Fatalf("cut at %d: %q is left, %v", cut, rest[:max(n, 0)], err)
				}
				unix.Close(fds[0])
				unix.Close(fds[1])
			}
		})
	}
}

func pair(t *testing.T) [2]int {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds
}

func write(t *testing.T, fd int, text string) {
	t.Helper()
	if len(text) == 0 {
		return
	}
	if n, err := unix.Write(fd, []byte(text)); err != nil || n != len(text) {
		t.Fatal(n, err)
	}
}

var badHeaders = map[string]string{
	"none":              "GET / HTTP/1.1\r\n\r\n",
	"one byte":          "G",
	"no line end":       "PROXY TCP4 " + string(bytes.Repeat([]byte("1"), 100)),
	"no addresses":      "PROXY TCP4\r\n",
	"no address":        "PROXY TCP4 300.1.2.3 10.0.0.1 1234 443\r\n",
	"wrong family":      "PROXY TCP6 10.1.2.3 10.0.0.1 1234 443\r\n",
	"no port":           "PROXY TCP4 10.1.2.3 10.0.0.1 123456 443\r\n",
	"another signature": signature[:11] + "x",
	"another version":   signature + "\x11\x11\x00\x0c" + v4body,
	"short body":        binaryHeader(1, 0x11, v4body[:8]),
	"unspecified":       binaryHeader(1, 0x00, "abc"),
	"too long":          signature + "\x21\x11\xff\xff",
}

func TestBadHeaders(t *testing.T) {
	for name, text := range badHeaders {
		fds := pair(t)
		write(t, fds[1], text)
		if h, err := takeHeader(fds[0]); !errors.Is(err, errHeader) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		unix.Close(fds[0])
		unix.Close(fds[1])
	}
	fds := pair(t)
	unix.Close(fds[1])
	if _, err := takeHeader(fds[0]); !errors.Is(err, errHeader) {
		t.Errorf("closed at once: %v", err)
	}
	unix.Close(fds[0])
}

func FuzzHeader(f *testing.F) {
	for _, h := range headers {
		f.Add([]byte(h.text + "x"))
	}
	for _, text := range badHeaders {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		size, err := headerSize(b)
		switch {
		case errors.Is(err, errIncomplete) && len(b) >= headerMax2:
			t.Errorf("%d bytes are not enough", len(b))
		case err != nil && size != 0, err == nil && (size <= 0 || size > len(b) || size > headerMax2):
			t.Fatalf("a header of %d bytes in %d, %v", size, len(b), err)
		case err != nil:
			return
		}
		h, err := parseHeader(b[:size])
		if err != nil {
			if !errors.Is(err, errHeader) {
				t.Errorf("%v", err)
			}
			return
		}
		if !h.client.IsValid() {
			return
		}
		for _, v := range []HeaderVersion{1, 2} { // what is passed on says the same
			again, err := v.format(&origin{client: h.client, local: h.local})
			if err != nil {
				t.Fatalf("version %d of %+v: %v", v, h, err)
			}
			if got, err := parseHeader(again); err != nil || got.client != h.client {
				t.Errorf("version %d: %+v, %v, want %+v", v, got, err, h)
			}
		}
	})
}

func TestProxiedListener(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.srv.SetGates(map[string]Gate{app: {Proxied: map[string]bool{key: true}, PerClient: 1}})
	w := b.passing("w", accepts, saying("w"))
	n.workers(w)
	for _, pieces := range [][]string{
		{"PROXY TCP4 10.1.2.3 10.0.0.1 1234 443\r\nhello "},
		{"PROXY TCP4 10.1.2.3 ", "10.0.0.1 1234 443\r\nhello "},
		{binaryHeader(1, 0x11, v4body+strange) + "hello "},
		{"\r\n\r\n\x00", binaryHeader(1, 0x11, v4body)[5:], "hello "},
	} {
		c := n.connect()
		for i, p := range pieces {
			if i == 1 { // the rest comes when the first was looked at
				n.srv.untilAwaited(t)
			}
			if _, err := c.Write([]byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		if got := ask(t, c, "you"); got != "w:hello you" {
			t.Errorf("%q: got %q", pieces, got)
		}
		if got := w.toldRemote(); got != addrOf("10.1.2.3:1234") {
			t.Errorf("%q: the worker is told %v", pieces, got)
		}
		c.Close()
		n.idle() // the limit is one
	}
	c := n.connect()
	if _, err := c.Write([]byte(binaryHeader(0, 0, ""))); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "me"); got != "w:me" {
		t.Errorf("got %q", got)
	}
	if got := w.toldRemote(); got.IsValid() {
		t.Errorf("of the proxy's own connection the worker is told %v", got)
	}
	c.Close()
	n.idle()
	if st := n.srv.GateStats(app); st != (GateStats{}) {
		t.Errorf("%+v", st)
	}
}

// toldRemote is the client's address that came with the last offer.
func (w *fakeWorker) toldRemote() netip.AddrPort {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.remote
}

// untilAwaited waits until a connection's header is awaited.
func (s *Server) untilAwaited(t *testing.T) {
	t.Helper()
	for over := time.Now().Add(limit); len(s.awaited) == 0; runtime.Gosched() {
		if time.Now().After(over) {
			t.Fatal("no header is awaited")
		}
	}
}

func TestProxiedListenerRefuses(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.passing("w", accepts, saying("w")))
	n.srv.SetGates(map[string]Gate{app: {Proxied: map[string]bool{AllListeners: true}, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	n.refused()
	n.srv.SetGates(map[string]Gate{app: {Proxied: map[string]bool{AllListeners: true}, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	c := n.connect()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	isReset(t, c)
	early := n.connect()
	n.srv.untilAwaited(t)
	if _, err := early.Write([]byte("PROXX")); err != nil {
		t.Fatal(err)
	}
	isReset(t, early)
	n.connect() // whose header never comes, until the server is closed
	for over := time.Now().Add(limit); n.srv.GateStats(app).Open == 0 && time.Now().Before(over); {
		runtime.Gosched()
	}
	if st := n.srv.GateStats(app); st.Open != 1 || st.BadHeader != 2 || st.Untrusted != 1 {
		t.Errorf("%+v", st)
	}
	if st := n.srv.Stats(); st.Refused != 3 || st.HandedOff != 0 {
		t.Errorf("%+v", st)
	}
}

// Others are served while a header is awaited.
func TestAwaitedHeaderHoldsNobodyUp(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.srv.SetGates(map[string]Gate{app: {Proxied: map[string]bool{AllListeners: true}}})
	n.workers(b.listening("w", saying("w")))
	slow := n.connect()
	n.srv.untilAwaited(t)
	quick := n.connect()
	for _, c := range []*net.TCPConn{quick, slow} {
		if got := ask(t, c, "PROXY UNKNOWN\r\nx"); got != "w:x" {
			t.Errorf("got %q", got)
		}
		c.Close()
	}
	n.idle()
}

// Workers that ask for it are told who connects to what, also over a peer.
func TestHeaderForWorkers(t *testing.T) {
	for _, v := range []HeaderVersion{1, 2} {
		b := newBench(t)
		n, peer := b.node("a", Options{}), b.node("b", Options{})
		for _, s := range []*Server{n.srv, peer.srv} {
			s.SetGates(map[string]Gate{app: {Named: true}})
		}
		w := b.listening("w", func(c net.Conn) {
			text, err := io.ReadAll(c)
			if err != nil {
				return
			}
			size, err := headerSize(text)
			if err != nil {
				return
			}
			h, err := parseHeader(text[:size])
			if err == nil {
				_, _ = c.Write([]byte(h.client.String() + " " + h.local.String() + " " + string(text[size:])))
			}
		})
		w.header = v
		n.workers(w)
		c := n.connect()
		want := c.LocalAddr().String() + " " + n.addr + " hello"
		if got := ask(t, c, "hello"); got != want {
			t.Errorf("version %d: got %q, want %q", v, got, want)
		}
		c.Close()
		n.idle()
		n.workers()
		peer.workers(w)
		n.hears("b")
		c = n.connect()
		want = c.LocalAddr().String() + " " + n.addr + " there"
		if got := ask(t, c, "there"); got != want {
			t.Errorf("version %d, by a peer: got %q, want %q", v, got, want)
		}
		c.Close()
		n.idle()
		peer.idle()
	}
}

func TestOwnHeader(t *testing.T) {
	if b := HeaderVersion(0).OwnHeader(); b != nil {
		t.Errorf("%q", b)
	}
	for v, want := range map[HeaderVersion]string{1: "PROXY UNKNOWN\r\n", 2: binaryHeader(0, 0, "")} {
		if got := string(v.OwnHeader()); got != want {
			t.Errorf("version %d: %q, want %q", v, got, want)
		}
	}
}

// A worker that does not take the header was not given the connection.
func TestHeaderNotTaken(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	bad := &unwilling{b.listening("bad", func(c net.Conn) {})}
	n.srv.SetWorker("bad", bad)
	good := b.listening("good", saying("good"))
	c := n.connect()
	n.workers(good)
	if got := ask(t, c, "x"); got != "good:x" {
		t.Errorf("got %q", got)
	}
	c.Close()
	n.idle()
}

// unwilling is a worker whose connections break before anything was sent.
type unwilling struct{ *fakeWorker }

func (u *unwilling) Header() HeaderVersion { return 2 }

func (u *unwilling) Dial(ctx context.Context) (net.Conn, error) {
	c, err := u.fakeWorker.Dial(ctx)
	if err == nil {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	return c, err
}

func TestPreambleVersions(t *testing.T) {
	p := preamble{App: "shop", Key: key, Client: addrOf("10.1.2.3:1234")}
	plain := p.append(nil)
	if plain[2] != preamblePlain {
		t.Errorf("version %d for what every node understands", plain[2])
	}
	p.Local = addrOf("10.0.0.1:443")
	for _, b := range [][]byte{plain, p.append(nil)} {
		got, err := readPreamble(bytes.NewReader(b))
		want := p
		if b[2] == preamblePlain {
			want.Local = netip.AddrPort{}
		}
		if err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}
