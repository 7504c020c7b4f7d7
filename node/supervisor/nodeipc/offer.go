package nodeipc

import (
	"bytes"
	"net/netip"
	"strconv"
)

// Outcome says what became of an offered connection.
type Outcome uint8

// The outcomes of an offer.
const (
	Accepted Outcome = iota + 1 // Accepted: the worker's server has the connection; the offerer closes its own descriptor.
	Refused                     // Refused: the worker has no such server any more, is at its limit, or lost the descriptor.
	Lost                        // Lost: the worker died before it said anything; by Node's source it has not read a byte.
)

// maxUnacked bounds the descriptors on their way to one worker (count). The kernel takes about as many.
const maxUnacked = 256

// offer is a descriptor on its way to the worker.
type offer struct {
	seq     int64
	outcome func(Outcome)
}

// Offer passes the connection fd to the server that listens on key. The descriptor stays the caller's; outcome is called exactly once,
// also when Offer returns nil and the worker dies later. On an error outcome is not called. Offer never blocks: with too much on the way to
// the worker it returns ErrBusy. remote, where valid, is the
// address that the app is to see as the client's, for a connection whose other end is not the client itself.
func (c *Channel) Offer(key string, fd int, remote netip.AddrPort, outcome func(Outcome)) error {
	return c.OfferSaying(key, fd, remote, nil, outcome)
}

// OfferSaying is like Offer. At the moment when the worker's server takes the connection, the worker writes say to it, before the app can; if it does
// not take it, nothing is written. Without a preload that can (Speaks), say must be empty.
func (c *Channel) OfferSaying(key string, fd int, remote netip.AddrPort, say []byte, outcome func(Outcome)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.leave.quiet != nil {
		return ErrClosed
	}
	if len(c.unacked) >= maxUnacked {
		return ErrBusy
	}
	o := &offer{outcome: outcome, seq: c.seq + 1}
	c.offers[o.seq] = o
	c.unacked = append(c.unacked, o)
	if err := c.writeOffer(key, fd, remote, say); err != nil {
		delete(c.offers, o.seq)
		c.unacked = c.unacked[:len(c.unacked)-1]
		return err
	}
	return nil
}

// writeOffer writes the message that goes with a descriptor. The lock is held.
func (c *Channel) writeOffer(key string, fd int, remote netip.AddrPort, say []byte) error {
	if remote.IsValid() || len(say) > 0 || !plainKey(key) {
		m := handleEnvelope{Cmd: cmdHandle, Type: "net.Native", Msg: newConn{Cmd: cmdCluster, Act: "newconn", Key: key, Say: say}}
		if remote.IsValid() {
			a := remote.Addr().Unmap()
			m.Msg.Rem = &address{Address: a.String(), Port: remote.Port(), Family: family(a.Is6())}
		}
		return c.write(m, fd)
	}
	// The same by hand: there is one for each connection.
	c.seq++
	b := append(make([]byte, 0, 160), `{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"`...)
	b = append(append(b, key...), `","seq":`...)
	b = append(strconv.AppendInt(b, c.seq, 10), "}}\n"...)
	return c.put(b, fd)
}

// plainKey reports whether a key stands in JSON as it is.
func plainKey(key string) bool {
	for i := range len(key) {
		if c := key[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

// The two messages by which Node answers each connection, as it writes them.
const (
	ackedHandle  = `{"cmd":"NODE_HANDLE_ACK"}`
	ackedConn    = `{"cmd":"NODE_CLUSTER","ack":`
	ackedConnYes = `,"accepted":true,"seq":`
)

// acked takes the answers to an offer in the form in which Node writes them, and reports whether line was one; any other form of them is
// decoded.
func (c *Channel) acked(line []byte) bool {
	if string(line) == ackedHandle {
		c.handleAcked(true)
		return true
	}
	rest, ok := bytes.CutPrefix(line, []byte(ackedConn))
	if !ok {
		return false
	}
	n := int64(0)
	for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' && n < 1<<53 {
		n, rest = n*10+int64(rest[0]-'0'), rest[1:]
	}
	if !bytes.HasPrefix(rest, []byte(ackedConnYes)) {
		return false
	}
	c.settle(n, true)
	return true
}

// handleAcked takes Node's confirmation of the oldest descriptor in flight. A missing descriptor is a refusal: nobody has the connection.
func (c *Channel) handleAcked(received bool) {
	c.mu.Lock()
	if len(c.unacked) == 0 || c.adopted.blind {
		c.mu.Unlock()
		return
	}
	if c.adopted.strange > 0 {
		c.adopted.strange--
		c.mu.Unlock()
		return
	}
	o := c.unacked[0]
	c.unacked = c.unacked[1:]
	c.checkQuiet()
	c.mu.Unlock()
	if !received {
		c.settle(o.seq, false)
	}
}

// settle ends the offer with number seq; unknown numbers (answers to other messages) are ignored.
func (c *Channel) settle(seq int64, accepted bool) {
	c.mu.Lock()
	o := c.offers[seq]
	delete(c.offers, seq)
	if o != nil {
		c.receivedUpTo(seq)
		c.checkQuiet()
	}
	c.mu.Unlock()
	if o == nil {
		return
	}
	if accepted {
		o.outcome(Accepted)
	} else {
		o.outcome(Refused)
	}
}
