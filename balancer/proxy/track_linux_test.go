package proxy

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// tracking is a tracker, and sockets whose ends it reports by name.
type tracking struct {
	t     *testing.T
	tr    *tracker
	ended chan string
}

func newTracking(t *testing.T) *tracking {
	t.Helper()
	tr, err := newTracker(hclog.NewNullLogger())
	if err != nil {
		t.Fatalf("this kernel does not tell the end of sockets: %v", err)
	}
	return &tracking{t: t, tr: tr, ended: make(chan string, 1024)}
}

// pair connects two sockets; the accepted one is tracked.
func (k *tracking) pair(network, owner, name string) (client, server *net.TCPConn) {
	k.t.Helper()
	ln, err := net.Listen(network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
	if err != nil {
		k.t.Skip(err)
	}
	defer ln.Close()
	c, err := net.DialTimeout(network, ln.Addr().String(), limit)
	if err != nil {
		k.t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		k.t.Fatal(err)
	}
	raw, err := s.(*net.TCPConn).SyscallConn()
	if err != nil {
		k.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { k.tr.track(owner, int(fd), func() { k.ended <- name }) })
	k.t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func (k *tracking) expect(names ...string) {
	k.t.Helper()
	var got []string
	over := time.After(limit)
	for len(got) < len(names) {
		select {
		case name := <-k.ended:
			got = append(got, name)
		case <-over:
			k.t.Fatalf("ended: %v, want %v", got, names)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, names) {
		k.t.Errorf("ended: %v, want %v", got, names)
	}
	select {
	case name := <-k.ended:
		k.t.Errorf("%s has ended too", name)
	default:
	}
}

func TestTrackerSeesTheEnd(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			k := newTracking(t)
			defer k.tr.close()
			clientFirst, s1 := k.pair(network, "w1", "client first")
			c2, workerFirst := k.pair(network, "w1", "worker first")
			c3, isReset := k.pair(network, "w1", "reset")
			k.pair(network, "w1", "open")
			clientFirst.Close()
			k.expect() // a client that has gone does not end the worker's socket
			s1.Close()
			k.expect("client first")
			workerFirst.Close()
			c2.Close()
			k.expect("worker first")
			_ = c3.SetLinger(0)
			c3.Close()
			isReset.Close()
			k.expect("reset")
		})
	}
}

// TestTrackerCountsTheLastDescriptor: a socket that has two descriptors ends with the second.
func TestTrackerCountsTheLastDescriptor(t *testing.T) {
	k := newTracking(t)
	defer k.tr.close()
	c, s := k.pair("tcp4", "w1", "it")
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.Close()
	k.expect()
	f.Close()
	k.expect("it")
}

func TestTrackerDropOwner(t *testing.T) {
	k := newTracking(t)
	defer k.tr.close()
	c, s := k.pair("tcp4", "w1", "a")
	k.pair("tcp4", "w1", "b")
	k.pair("tcp4", "w2", "c")
	k.tr.dropOwner("w1")
	k.expect("a", "b")
	s.Close()
	c.Close()
	k.tr.dropOwner("w1")
	k.expect() // once only
}

// TestTrackerResync loses notifications, as after an overflow.
func TestTrackerResync(t *testing.T) {
	k := newTracking(t)
	defer k.tr.close()
	var lost []*net.TCPConn
	for _, name := range []string{"a", "b"} {
		c, s := k.pair("tcp4", "w1", name)
		lost = append(lost, c, s)
	}
	k.pair("tcp4", "w1", "open")
	c, halfClosed := k.pair("tcp6", "w1", "half closed")
	_ = c.CloseWrite()
	_ = halfClosed
	// Hidden from the notifications, then back: their ends go by unseen.
	hidden := make(map[uint64]tracked)
	k.tr.mu.Lock()
	for cookie := range k.tr.socks {
		hidden[cookie] = k.tr.socks[cookie]
	}
	clear(k.tr.socks)
	k.tr.mu.Unlock()
	for _, c := range lost {
		_ = c.SetLinger(0)
		c.Close()
	}
	c, s := k.pair("tcp4", "w1", "mark") // notifications come in order: after this one the others are past
	_ = s.SetLinger(0)
	s.Close()
	c.Close()
	k.expect("mark")
	k.tr.mu.Lock()
	for cookie, s := range hidden {
		k.tr.socks[cookie] = s
	}
	k.tr.mu.Unlock()
	k.tr.resync()
	k.expect("a", "b")
}

// TestTrackerOverflow closes more sockets than the kernel keeps notifications for.
func TestTrackerOverflow(t *testing.T) {
	k := newTracking(t)
	defer k.tr.close()
	_ = k.tr.conn.SetReadBuffer(1) // the kernel makes it its least
	var names []string
	var all []*net.TCPConn
	for range 400 {
		c, s := k.pair("tcp4", "w1", "it")
		all, names = append(all, c, s), append(names, "it")
	}
	k.tr.mu.Lock() // the listener stands still at the first
	for _, c := range all {
		_ = c.SetLinger(0)
		c.Close()
	}
	settled := make(chan struct{})
	time.AfterFunc(200*time.Millisecond, func() { close(settled) }) // the kernel notifies from a queue of its own
	<-settled
	k.tr.mu.Unlock()
	k.expect(names...)
}

func TestTrackerClose(t *testing.T) {
	k := newTracking(t)
	k.pair("tcp4", "w1", "a")
	k.tr.close()
	k.expect("a")
	k.pair("tcp4", "w1", "late")
	k.expect("late")
}

func TestTrackerWithoutTheKernelsHelp(t *testing.T) {
	k := &tracking{t: t, tr: &tracker{log: hclog.NewNullLogger(), socks: make(map[uint64]tracked), stop: make(chan struct{})}, ended: make(chan string, 1)}
	k.pair("tcp4", "w1", "a")
	k.expect("a")
	k.tr.close()
}

func TestWorkersDeathGivesItsClaimsBack(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	hold := make(chan struct{})
	w := b.passing("w1", accepts, func(net.Conn) { <-hold })
	n.workers(w)
	for range 3 {
		n.connect()
	}
	n.await("taken", func() bool { return n.srv.Stats().HandedOff == 3 })
	n.bal.Picker(app).SetWorkers(nil)
	n.srv.RemoveWorker("w1")
	n.idle()
	close(hold)
}

// TestManyHandOffs has many clients at once; every claim comes back by the kernel's word alone.
func TestManyHandOffs(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.passing("w1", accepts, saying("w1")), b.passing("w2", accepts, saying("w1")),
		b.passing("w3", func() Outcome { return Refused }, nil))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				c, err := net.DialTimeout("tcp", n.addr, limit)
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(limit))
				_, _ = c.Write([]byte("x"))
				_ = c.(*net.TCPConn).CloseWrite()
				if got, err := io.ReadAll(c); string(got) != "w1:x" {
					t.Errorf("got %q, %v", got, err)
				}
				c.Close()
			}
		})
	}
	within(t, "400 connections", wg.Wait)
	n.idle()
	if st := n.srv.Stats(); st.HandedOff != 400 || st.Refused != 0 || st.Accepted != 400 {
		t.Errorf("%+v", st)
	}
}

func TestAllButDead(t *testing.T) {
	for _, dead := range []int{unix.BPF_TCP_TIME_WAIT, unix.BPF_TCP_CLOSE} {
		if allButDead&(1<<dead) != 0 {
			t.Errorf("state %d counts as alive", dead)
		}
	}
	for _, alive := range []int{unix.BPF_TCP_ESTABLISHED, unix.BPF_TCP_FIN_WAIT1, unix.BPF_TCP_FIN_WAIT2, unix.BPF_TCP_CLOSE_WAIT, unix.BPF_TCP_LAST_ACK} {
		if allButDead&(1<<alive) == 0 {
			t.Errorf("state %d counts as dead", alive)
		}
	}
}
