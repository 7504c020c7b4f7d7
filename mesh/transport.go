package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Bounds of the transport.
const (
	packetQueue  = 256
	maxPacket    = 64 << 10
	maxInbound   = 256 // gossip streams of peers open at once
	maxOutbound  = 256 // gossip streams to peers open at once
	acceptMin    = 5 * time.Millisecond
	acceptMax    = time.Second
	packetErrors = 10 * time.Millisecond // pause after a failed read
)

// transport carries memberlist's packets and streams over the peer port.
type transport struct {
	packets   net.PacketConn
	listener  net.Listener
	dial      Dialer
	meter     *meter
	log       hclog.Logger
	packetCh  chan *memberlist.Packet
	streamCh  chan net.Conn
	ctx       context.Context // ends with Shutdown
	cancel    context.CancelFunc
	wait      sync.WaitGroup
	inbound   *openStreams
	outbound  *openStreams
	dials     watchedDials
	closeOnce sync.Once
}

var errTooManyStreams = errors.New("too many gossip streams are open")

// watchedDials are the addresses that somebody joins at the moment.
type watchedDials struct {
	mu   sync.Mutex
	errs map[string]*watchedDial
}

// watchedDial holds the last dial error of an address while somebody joins it.
type watchedDial struct {
	watchers int
	err      error
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(o Options, m *meter, logger hclog.Logger) *transport {
	t := &transport{
		packets: o.Packets, listener: o.GossipListener, dial: o.DialGossip, meter: m, log: logger,
		packetCh: make(chan *memberlist.Packet, packetQueue), streamCh: make(chan net.Conn),
		inbound: newOpenStreams(maxInbound), outbound: newOpenStreams(maxOutbound), dials: watchedDials{errs: make(map[string]*watchedDial)},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// begin lets packets and streams in. It must come after memberlist has been created: memberlist would take a packet about an earlier process
// of this node, if it came before its own first announcement, for the truth about itself, and tell the old metadata to everybody.
func (t *transport) begin() {
	t.wait.Go(t.readPackets)
	t.wait.Go(func() { acceptStreams(t.ctx, t.listener, t.log, t.take) })
}

// FinalAdvertiseAddr implements memberlist.Transport; Open has checked the address.
func (t *transport) FinalAdvertiseAddr(ip string, port int) (net.IP, int, error) {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, 0, fmt.Errorf("advertised address: %w", err)
	}
	return addr.AsSlice(), port, nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("packet to %s: %w", addr, err)
	}
	_, err = t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	c, err := t.dial(ctx, addr)
	t.noteDial(addr, err)
	if err != nil {
		return nil, err
	}
	tracked, ok := t.outbound.track(c)
	if !ok {
		t.meter.refused(reasonStreams, 1)
		return nil, errors.Join(errTooManyStreams, c.Close())
	}
	return tracked, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// interrupt ends dials and exchanges with peers that this side began; it may be called more than once.
func (t *transport) interrupt() {
	t.cancel()
	t.outbound.closeAll()
}

// Shutdown implements memberlist.Transport: it closes the packet socket, the listener and the streams of peers, and waits for the loops.
func (t *transport) Shutdown() error {
	var err error
	t.closeOnce.Do(func() {
		t.interrupt()
		err = errors.Join(t.packets.Close(), t.listener.Close())
		t.inbound.closeAll()
	})
	t.wait.Wait()
	return err
}

// readPackets hands packets to memberlist; those beyond the queue are dropped and counted, as a full socket buffer would drop them.
func (t *transport) readPackets() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.packets.ReadFrom(buf)
		at := time.Now()
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			t.log.Debug("cannot read a gossip packet", "err", err)
			if !pause(t.ctx, packetErrors) {
				return
			}
			continue
		}
		if n == 0 {
			continue
		}
		select {
		case t.packetCh <- &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: from, Timestamp: at}:
		default:
			t.meter.packets.Add(1)
		}
	}
}

// take hands a stream of a peer to memberlist.
func (t *transport) take(c net.Conn) {
	tracked, ok := t.inbound.track(c)
	if !ok {
		t.meter.refused(reasonStreams, 1)
		_ = c.Close()
		return
	}
	select {
	case t.streamCh <- tracked:
	case <-t.ctx.Done():
		_ = tracked.Close()
	}
}

// watchDial remembers dial errors of addr until the returned function is called, which returns the last one.
func (t *transport) watchDial(addr string) (forget func() error) {
	t.dials.mu.Lock()
	defer t.dials.mu.Unlock()
	w := t.dials.errs[addr]
	if w == nil {
		w = &watchedDial{}
		t.dials.errs[addr] = w
	}
	w.watchers++
	return func() error {
		t.dials.mu.Lock()
		defer t.dials.mu.Unlock()
		if w.watchers--; w.watchers == 0 {
			delete(t.dials.errs, addr)
		}
		return w.err
	}
}

func (t *transport) noteDial(addr string, err error) {
	t.dials.mu.Lock()
	defer t.dials.mu.Unlock()
	if w := t.dials.errs[addr]; w != nil {
		w.err = err
	}
}
