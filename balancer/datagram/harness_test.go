package datagram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"meshnode/balancer"
)

const (
	limit = 5 * time.Second
	app   = "shop"
	key   = "0.0.0.0:53:udp4"
)

// bench is some nodes on loopback; its end proves that all was given back.
type bench struct {
	t     *testing.T
	nodes map[string]*tnode
	wg    sync.WaitGroup
	ends  []func()
}

type tnode struct {
	b       *bench
	name    string
	bal     *balancer.Balancer
	srv     *Server
	addr    string // of clients
	file    *os.File
	peers   net.Listener
	workers map[string]*worker
	mu      sync.Mutex
	served  chan error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, nodes: make(map[string]*tnode)}
	leaks := goleak.IgnoreCurrent()
	fds := -1
	t.Cleanup(func() {
		for _, end := range b.ends {
			end()
		}
		for name, n := range b.nodes {
			n.srv.Close()
			n.peers.Close()
			<-n.served
			n.file.Close()
			if c := n.bal.Counts(); c.Taken != c.Returned {
				t.Errorf("%s: %d claims taken, %d returned", name, c.Taken, c.Returned)
			}
			if st := n.srv.Stats(); st.Open != 0 {
				t.Errorf("%s: sessions are still open: %+v", name, st)
			}
		}
		b.wg.Wait()
		if err := goleak.Find(leaks); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
		if now := descriptors(t); fds >= 0 && now != fds {
			t.Errorf("%d descriptors before the test, %d after it", fds, now)
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0") // Go's poller has descriptors of its own
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	fds = descriptors(t)
	return b
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func (b *bench) node(name string, shared bool, change ...func(*Options)) *tnode {
	b.t.Helper()
	n := &tnode{b: b, name: name, bal: balancer.New(name), workers: make(map[string]*worker), served: make(chan error, 1)}
	o := Options{Picker: n.bal.Picker, Logger: hclog.NewNullLogger(), Worker: n.worker, DialPeer: b.dial}
	for _, c := range change {
		c(&o)
	}
	n.srv = New(o)
	pc, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		b.t.Fatal(err)
	}
	n.file, err = pc.(*net.UDPConn).File()
	if err != nil {
		b.t.Fatal(err)
	}
	n.addr = fmt.Sprintf("127.0.0.1:%d", pc.LocalAddr().(*net.UDPAddr).Port)
	pc.Close()
	if n.peers, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.t.Fatal(err)
	}
	srv := n.srv // a test may replace it
	go func() { n.served <- srv.ServePeers(n.peers) }()
	if err := n.srv.Serve(app, key, n.file, shared); err != nil {
		b.t.Fatal(err)
	}
	b.nodes[name] = n
	return n
}

func (b *bench) dial(ctx context.Context, node string) (net.Conn, error) {
	n := b.nodes[node]
	if n == nil {
		return nil, errors.New("no such node")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", n.peers.Addr().String())
}

// worker answers each datagram with its name and the text.
type worker struct {
	id   string
	conn *net.UDPConn
	hold chan struct{} // what begins with that word waits for it
}

func (n *tnode) worker(id, _ string) (netip.AddrPort, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.workers[id]
	if w == nil {
		return netip.AddrPort{}, false
	}
	return w.conn.LocalAddr().(*net.UDPAddr).AddrPort(), true
}

func (n *tnode) start(ids ...string) []*worker {
	n.b.t.Helper()
	var out []*worker
	for _, id := range ids {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			n.b.t.Fatal(err)
		}
		w := &worker{id: id, conn: c, hold: make(chan struct{})}
		n.b.ends = append(n.b.ends, func() { c.Close() })
		n.b.wg.Go(w.answer)
		n.mu.Lock()
		n.workers[id] = w
		n.mu.Unlock()
		out = append(out, w)
	}
	n.ready(ids...)
	return out
}

func (w *worker) answer() {
	buf := make([]byte, maxPayload)
	for {
		k, from, err := w.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if strings.HasPrefix(string(buf[:k]), "hold") {
			<-w.hold
		}
		_, _ = w.conn.WriteToUDPAddrPort(append([]byte(w.id+":"), buf[:k]...), from)
	}
}

func (n *tnode) ready(ids ...string) {
	var ws []balancer.Worker
	for _, id := range ids {
		ws = append(ws, balancer.Worker{ID: id})
	}
	n.bal.Picker(app).SetWorkers(ws)
}

// hears makes peers known, with a ready worker each.
func (n *tnode) hears(peers ...string) {
	for _, p := range peers {
		n.bal.SetLink(p, true)
		n.bal.Picker(app).SetReport(p, balancer.Report{Ready: 1}, time.Now())
	}
}

// client is one of the node's.
func (n *tnode) client() *net.UDPConn {
	n.b.t.Helper()
	c, err := net.Dial("udp4", n.addr)
	if err != nil {
		n.b.t.Fatal(err)
	}
	n.b.ends = append(n.b.ends, func() { c.Close() })
	return c.(*net.UDPConn)
}

// ask sends text until an answer to it comes, as clients of datagrams do.
func (b *bench) ask(c *net.UDPConn, text string) string {
	b.t.Helper()
	buf := make([]byte, maxPayload)
	for over := time.Now().Add(limit); time.Now().Before(over); {
		if _, err := c.Write([]byte(text)); err != nil && !strings.Contains(err.Error(), "refused") {
			b.t.Fatal(err)
		}
		for {
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			k, err := c.Read(buf)
			if err != nil {
				break
			}
			if strings.HasSuffix(string(buf[:k]), ":"+text) {
				return string(buf[:k])
			}
		}
	}
	b.t.Fatalf("no answer to %q; %+v", text[:min(len(text), 20)], b.stats())
	return ""
}

func (b *bench) stats() map[string]Stats {
	out := make(map[string]Stats)
	for name, n := range b.nodes {
		out[name] = n.srv.Stats()
	}
	return out
}
