package wire

import (
	"errors"
	"os"
	"sync"
	"time"
)

// Rule is what happens to frames in one direction between two ports. The zero value is a good cable.
type Rule struct {
	Delay  time.Duration // Delay of each frame, beside what the machine takes.
	Jitter time.Duration // Jitter is the most by which a frame's delay differs from Delay, either way.
	Loss   float64       // Loss is the share of frames that vanish, in [0,1].
	Cut    bool          // Cut lets nothing pass.
	NoUDP  bool          // NoUDP lets no UDP over IPv4 pass, as a firewall that knows TCP only.
	Bad    Damage        // Bad is what happens to frames that do pass.
}

// Damage says what share of frames arrives otherwise than sent, each in [0,1].
type Damage struct {
	Twice   float64 // Twice arrive two times.
	Changed float64 // Changed have one byte behind the addresses changed.
	Late    float64 // Late are overtaken by those that are sent within the next 5 ms.
}

// Count is what became of the frames of one direction since they were counted first.
type Count struct {
	Passed  uint64 // Passed were written to the other device.
	Lost    uint64 // Lost were dropped by Loss, Cut or NoUDP.
	Refused uint64 // Refused found the queue full, or the other device down.
}

// Switch joins the devices that are plugged into it.
type Switch struct {
	readers sync.WaitGroup // before the paths, whose queues they fill

	mu    sync.Mutex
	ports []*port
	paths map[[2]int]*path
	table map[mac]*port // where an address was seen last
	tape  *tape         // nil = nothing is recorded
}

// Frame is one that was recorded.
type Frame struct {
	To   int // To is the port that it went to.
	Data []byte
}

// tape keeps what passes, up to a number of bytes.
type tape struct {
	frames []Frame
	left   int
}

type mac [6]byte

// port is one device. Its number is its place in Switch.ports.
type port struct {
	number int
	dev    *os.File
}

// New returns a switch with nothing plugged in.
func New() *Switch {
	return &Switch{paths: make(map[[2]int]*path), table: make(map[mac]*port)}
}

// Plug makes a device of that name in a network namespace, plugs it in and returns its port's number, from 0. The device has no address
// and is down.
func (s *Switch) Plug(namespace, device string) (int, error) {
	dev, err := openTap(namespace, device)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &port{number: len(s.ports), dev: dev}
	for _, q := range s.ports {
		for _, ends := range [][2]*port{{p, q}, {q, p}} {
			s.paths[[2]int{ends[0].number, ends[1].number}] = openPath(ends[1].dev)
		}
	}
	s.ports = append(s.ports, p)
	s.readers.Go(func() { s.read(p) })
	return p.number, nil
}

// Set gives one direction between two ports a new rule. Frames that are under way keep their time.
func (s *Switch) Set(from, to int, r Rule) {
	if p := s.path(from, to); p != nil {
		p.rule.Store(&r)
	}
}

// Record keeps a copy of all frames from now on, up to the given number of bytes, until the returned function is called, which gives them away. One
// recording goes on at a time.
func (s *Switch) Record(most int) func() []Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := &tape{left: most}
	s.tape = kept
	return func() []Frame {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tape = nil
		return kept.frames
	}
}

// Inject writes a frame to the device at a port, as if it had come by the cable.
func (s *Switch) Inject(to int, frame []byte) {
	s.mu.Lock()
	p := s.ports[to]
	s.mu.Unlock()
	_, _ = p.dev.Write(frame) // a device that is full drops it, as any would
}

// Count says what became of the frames of one direction.
func (s *Switch) Count(from, to int) Count {
	p := s.path(from, to)
	if p == nil {
		return Count{}
	}
	return Count{p.passed.Load(), p.lost.Load(), p.refused.Load()}
}

func (s *Switch) path(from, to int) *path {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths[[2]int{from, to}]
}

// Close pulls all devices out, which removes them, and waits until nothing moves any more.
func (s *Switch) Close() error {
	s.mu.Lock()
	ports, paths := s.ports, s.paths
	s.mu.Unlock()
	var errs []error
	for _, p := range ports {
		errs = append(errs, p.dev.Close())
	}
	s.readers.Wait()
	for _, p := range paths {
		p.close()
	}
	return errors.Join(errs...)
}

const (
	largest = 1 << 16 // bytes of a frame
	header  = 14      // bytes: two addresses and the type
)

// read takes frames from a device until it is closed.
func (s *Switch) read(p *port) {
	b := make([]byte, largest)
	for {
		n, err := p.dev.Read(b)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // the device is down, and may come up
			continue
		}
		if n < header {
			continue
		}
		ways := s.route(p, mac(b[:6]), mac(b[6:12]))
		s.keep(ways, b[:n])
		for _, out := range ways {
			out.send(b[:n])
		}
	}
}

// keep records a frame, if somebody wants it.
func (s *Switch) keep(ways []*path, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tape == nil {
		return
	}
	for number, p := range s.ports {
		if len(b) > s.tape.left {
			return
		}
		for _, w := range ways {
			if w.to == p.dev {
				s.tape.left -= len(b)
				s.tape.frames = append(s.tape.frames, Frame{number, append([]byte(nil), b...)})
			}
		}
	}
}

// route learns where the sender is, and returns the ways to the receiver: all, if it is not known or if everybody is meant.
func (s *Switch) route(from *port, to, sender mac) []*path {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table[sender] = from
	group := to[0]&1 == 1
	if p, ok := s.table[to]; ok && !group {
		if p == from {
			return nil
		}
		return []*path{s.paths[[2]int{from.number, p.number}]}
	}
	var all []*path
	for _, p := range s.ports {
		if p != from {
			all = append(all, s.paths[[2]int{from.number, p.number}])
		}
	}
	return all
}
