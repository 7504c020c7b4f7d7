package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/e2e/lab"
)

// hostileHosts are the addresses in the client's place from which half-open clients come (count).
const hostileHosts = 20

// ear is a listener, and how an honest client finds out whether it serves.
type ear struct {
	name    string
	at      *lab.Node
	network string
	addr    string
	half    int // half-open clients that are held (count)
	honest  ask
}

// ask is one honest request on a connection of its own.
type ask struct {
	network, addr, request string
}

func (a ask) once() (time.Duration, error) {
	begun := time.Now()
	c, err := net.DialTimeout(a.network, a.addr, 3*time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(begun.Add(5 * time.Second))
	if _, err := io.WriteString(c, a.request); err != nil {
		return 0, err
	}
	raw, err := io.ReadAll(c)
	if err == nil && len(raw) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return time.Since(begun), err
}

// times asks for a while, at an even rate, from the client's place.
func (a ask) times(l *lab.Lab, d time.Duration) (took []time.Duration, failed []error) {
	const every = 10 * time.Millisecond
	_ = l.Inside(func() error {
		for due := time.Now(); d > 0; d -= every {
			time.Sleep(time.Until(due))
			t, err := a.once()
			if err != nil {
				failed = append(failed, err)
			} else {
				took = append(took, max(t, time.Since(due))) // from when it was due: who waits for the one before waits too
			}
			due = due.Add(every)
		}
		return nil
	})
	return took, failed
}

func p99(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// beginnings are what a client may say before it falls silent.
func beginnings() [][]byte {
	return [][]byte{nil, []byte("GET / HTTP/1.1\r\nHost:"), {22, 3, 1, 2, 0, 1, 0, 1, 252}, []byte("PROXY TCP4 10.0.0.1"), []byte("mesh\n\x01")}
}

// pace is how fast half-open clients come (a second). Faster is a burst, which takes its time where each one is given to a worker.
const pace = 1000

// besiege opens half-open clients, from many addresses, which stay until the function that it returns is called. Those that the server closes are
// not opened again.
func besiege(l *lab.Lab, e ear, hosts []netip.Addr) (open int, end func()) {
	var held []net.Conn
	_ = l.Inside(func() error {
		begun := time.Now()
		for i := range e.half {
			time.Sleep(time.Until(begun.Add(time.Duration(i) * time.Second / pace)))
			d := net.Dialer{Timeout: time.Second}
			if e.network == "tcp" {
				d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(hosts[i%len(hosts)], 0))
			}
			c, err := d.Dial(e.network, e.addr)
			if err != nil {
				continue
			}
			_, _ = c.Write(beginnings()[i%len(beginnings())])
			held = append(held, c)
		}
		return nil
	})
	return len(held), func() {
		for _, c := range held {
			_ = c.Close()
		}
	}
}

// pester sends junk to a listener until over: random bytes, other protocols, connections that are reset at once, and SYNs that are never followed up.
func pester(l *lab.Lab, e ear, hosts []netip.Addr, over <-chan struct{}) {
	_ = l.Inside(func() error {
		raw := -1
		if e.network == "tcp" {
			raw, _ = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			defer unix.Close(raw)
		}
		for i := 0; ; i++ {
			select {
			case <-over:
				return nil
			default:
			}
			if raw >= 0 {
				for range 25 {
					_ = sendSYN(raw, hosts[0], netip.MustParseAddrPort(e.addr))
				}
			}
			c, err := net.DialTimeout(e.network, e.addr, time.Second)
			if err != nil {
				continue
			}
			switch t, ok := c.(*net.TCPConn); i % 5 {
			case 0:
				junk := make([]byte, rand.IntN(2000))
				for k := range junk {
					junk[k] = byte(rand.Uint32())
				}
				_, _ = c.Write(junk)
			case 1:
				_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
			case 2:
				_, _ = c.Write([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 3})
			case 3:
				_, _ = c.Write([]byte("PROXY TCP6 ::1"))
			default:
				if ok {
					_ = t.SetLinger(0)
				}
			}
			_ = c.Close()
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// sendSYN sends the first packet of a handshake from an address next to a hostile one, which nobody has: the answer goes nowhere.
func sendSYN(fd int, near netip.Addr, to netip.AddrPort) error {
	src, dst := near.As4(), to.Addr().As4()
	src[3] = 199
	p := make([]byte, 40)
	p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(p[2:], 40)
	copy(p[12:], src[:])
	copy(p[16:], dst[:])
	tcp := p[20:]
	binary.BigEndian.PutUint16(tcp, uint16(1024+rand.IntN(60000)))
	binary.BigEndian.PutUint16(tcp[2:], to.Port())
	binary.BigEndian.PutUint32(tcp[4:], rand.Uint32())
	tcp[12], tcp[13] = 5<<4, 2 // SYN
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	sum := uint32(unix.IPPROTO_TCP + 20)
	for i := 12; i < 40; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
	return unix.Sendto(fd, p, 0, &unix.SockaddrInet4{Addr: dst})
}

// TestHalfOpenClients has 10,000 clients open connections to each listener of a server and say nothing, or half of something, while junk comes
// in besides. Quiet times and besieged ones take turns.
func TestHalfOpenClients(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	if !l.Spaces() {
		t.Skip("needs network namespaces")
	}
	join := l.Host(1).IP + ":7946"
	n := l.Host(1).Start("-join", join, "-http", l.Host(1).IP+":7947")
	l.Host(2).Start("-join", join)
	door := l.Host(3).Start("-join", join, "-no-workers")
	n.Voters(30*time.Second, 3, 3)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, n, 4, 20*time.Second)
	hosts := manyAddresses(t, l)
	const get = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	const health = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	sock := filepath.Join(n.Dir, "meshnode.sock")
	direct, relayed := ask{"tcp", n.IP + ":3000", get}, ask{"tcp", door.IP + ":3000", get}
	for _, e := range []ear{
		{"an app's port", n, "tcp", n.IP + ":3000", 10000, direct},
		{"an app's port, relayed", door, "tcp", door.IP + ":3000", 7000, relayed}, // two descriptors each, of 20,000
		{"the peer port", n, "tcp", n.IP + ":7946", 10000, relayed},
		{"-http", n, "tcp", n.IP + ":7947", 10000, ask{"tcp", n.IP + ":7947", health}},
		{"the control socket", n, "unix", sock, 10000, ask{"unix", sock, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}},
	} {
		t.Run(e.name, func(t *testing.T) { siege(t, l, e, hosts) })
	}
}

// manyAddresses gives the client's place more addresses.
func manyAddresses(t *testing.T, l *lab.Lab) []netip.Addr {
	t.Helper()
	base := netip.MustParseAddr(l.Host(1).IP).As4()
	var hosts []netip.Addr
	err := l.Inside(func() error {
		for i := range hostileHosts {
			base[3] = byte(200 + i)
			a := netip.AddrFrom4(base)
			if out, err := exec.Command("ip", "addr", "add", a.String()+"/24", "dev", "br0").CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			hosts = append(hosts, a)
		}
		return nil
	})
	if err != nil {
		t.Skipf("no further addresses: %v", err)
	}
	return hosts
}

func siege(t *testing.T, l *lab.Lab, e ear, hosts []netip.Addr) {
	const spell = 3 * time.Second
	var quiet, arriving, hostile []time.Duration
	var failed, lost []error
	opened := 0
	idle := e.at.Usage()
	most := idle
	for range 2 {
		q, err := e.honest.times(l, spell)
		quiet, failed = append(quiet, q...), append(failed, err...)
		over, come := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { pester(l, e, hosts, over) })
		wg.Go(func() {
			for {
				select {
				case <-come:
					return
				default:
				}
				a, err := e.honest.times(l, 100*time.Millisecond)
				arriving, failed = append(arriving, a...), append(failed, err...)
			}
		})
		k, end := besiege(l, e, hosts)
		close(come)
		opened = max(opened, k)
		time.Sleep(2 * time.Second) // what their coming has left to do
		h, err := e.honest.times(l, spell)
		hostile = append(hostile, h...)
		lost = append(lost, err...)
		if u := e.at.Usage(); u.RSS > most.RSS {
			most = u
		}
		close(over)
		end()
		wg.Wait()
		time.Sleep(time.Second) // the connections' ends
	}
	failed = append(failed, lost...)
	a, b := p99(quiet), p99(hostile)
	if len(failed) > 0 {
		t.Errorf("%d honest requests failed: %v", len(failed), errors.Join(failed[:min(len(failed), 5)]...))
	}
	if b > 2*a && b > 20*time.Millisecond { // below that it is the machine's noise
		t.Errorf("p99 of honest requests %v, quiet %v", b, a)
	}
	if s, err := e.at.Status(); err != nil || s.Leader == "" {
		t.Errorf("status after it: %v, %v", s, err)
	}
	measured(t, 60, "%s: %d half-open clients from %d addresses, junk and lone SYNs besides: %d of %d honest requests failed, p99 %.1f ms beside %.1f ms quiet (%.1f ms while they come, 1,000 a second); the server has %d descriptors and %d MB more then",
		e.name, opened, len(hosts), len(failed), len(quiet)+len(arriving)+len(hostile)+len(failed), b.Seconds()*1e3, a.Seconds()*1e3, p99(arriving).Seconds()*1e3, most.Files-idle.Files, (most.RSS-idle.RSS)>>20)
}
