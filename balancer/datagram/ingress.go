package datagram

import (
	"fmt"
	"net"
	"time"

	"meshnode/balancer"
)

// streamSilence is how long a peer may send nothing: it pings.
const streamSilence = 10 * time.Second

// ServePeers accepts the streams of peers until the listener or the server is closed (then ErrClosed). Their sessions are served by workers of this node, or
// not at all.
func (s *Server) ServePeers(ln net.Listener) error {
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		if !s.start(func() { s.serve(c) }) {
			c.Close()
			return ErrClosed
		}
	}
}

// ingress is a peer's stream.
type ingress struct {
	stream
	table *table
	open  map[uint32]opening // the reader's
}

func (s *Server) serve(c net.Conn) {
	in := &ingress{stream: newStream(s), table: newTable(), open: make(map[uint32]opening)}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.streams[c] = in.table
	}
	s.mu.Unlock()
	if closed || !s.start(func() {
		_ = in.write(c, nil, nil) // then reading fails as well
		c.Close()
	}) {
		c.Close()
		return
	}
	err := readFrames(c, streamSilence, in.take)
	s.log.Debug("a peer's stream of datagrams has ended", "addr", c.RemoteAddr(), "err", err)
	close(in.done)
	c.Close()
	s.mu.Lock()
	delete(s.streams, c)
	s.mu.Unlock()
	in.table.close()
}

// take is the peer's word.
func (in *ingress) take(kind byte, number uint32, payload []byte) error {
	switch kind {
	case frameOpen:
		o, err := readOpening(payload)
		if err != nil {
			return err
		}
		if len(in.open) >= in.s.o.Sessions {
			return fmt.Errorf("more than %d sessions on one stream", in.s.o.Sessions)
		}
		in.open[number] = o
	case frameData:
		in.data(number, payload)
	case frameClose:
		delete(in.open, number)
		if x := in.table.get(flow{number: number}); x != nil {
			in.table.drop(x)
			x.done(balancer.DoneInfo{Now: time.Now()})
			in.s.linger(x, time.Now())
		}
	case framePing:
		in.put(head(framePong, 0, 0))
	default:
		return errFrame
	}
	return nil
}

// data passes a datagram on to the session's worker.
func (in *ingress) data(number uint32, payload []byte) {
	o, ok := in.open[number]
	if !ok {
		return // it was refused meanwhile
	}
	in.s.stats.fromPeers.Add(1)
	f := flow{number: number}
	x := in.table.get(f)
	if x == nil {
		x = &session{table: in.table, flow: f, answer: func(payload []byte) { in.put(dataFrame(number, payload)) }}
		if !in.s.begin(x, o.id, o.client, false) {
			delete(in.open, number)
			in.put(head(frameClose, number, 0))
			return
		}
	}
	x.use()
	x.way.send(payload)
}
