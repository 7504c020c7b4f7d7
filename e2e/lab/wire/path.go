package wire

import (
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// queued is the most frames that are under way in one direction (count); at 50 ms and full frames that is 2 Gbit/s.
const queued = 1 << 13

// path is one direction between two ports.
type path struct {
	to    *os.File
	rule  atomic.Pointer[Rule]
	queue chan frame
	done  sync.WaitGroup
	last  time.Time // when the frame before is due; of the sender

	passed, lost, refused, waiting atomic.Uint64
}

// frame is one that is under way.
type frame struct {
	due  time.Time
	data []byte
}

func openPath(to *os.File) *path {
	p := &path{to: to, queue: make(chan frame, queued)}
	p.rule.Store(&Rule{})
	p.done.Go(p.deliver)
	return p
}

// lateBy is how long a late frame is held back.
const lateBy = 5 * time.Millisecond

// close delivers nothing more. Nobody may send any more.
func (p *path) close() {
	close(p.queue)
	p.done.Wait()
}

// send puts a frame on its way; only the goroutine of the port that it came from may call it. What needs no delay, and has nothing before
// it, is delivered at once.
func (p *path) send(b []byte) {
	r := p.rule.Load()
	if r.Cut || r.Loss > 0 && rand.Float64() < r.Loss || r.NoUDP && isUDP(b) {
		p.lost.Add(1)
		return
	}
	if r.Bad != (Damage{}) {
		if b = p.damage(r.Bad, b); b == nil {
			return
		}
	}
	p.forward(r, b)
}

// isUDP reports whether a frame carries UDP over IPv4.
func isUDP(b []byte) bool {
	const ipProtocol = 9 // bytes into the packet
	return len(b) > header+ipProtocol && b[12] == 8 && b[13] == 0 && b[header+ipProtocol] == 17
}

// damage does to a frame what the rule wants, and returns what is still to be sent. The bytes themselves are others' as well.
func (p *path) damage(d Damage, b []byte) []byte {
	if len(b) > header && rand.Float64() < d.Changed {
		b = slices.Clone(b)
		b[header+rand.IntN(len(b)-header)] ^= 1 << rand.IntN(8)
	}
	if rand.Float64() < d.Twice {
		p.write(b)
	}
	if rand.Float64() >= d.Late {
		return b
	}
	late := slices.Clone(b)
	p.done.Go(func() {
		time.Sleep(lateBy)
		p.write(late)
	})
	return nil
}

// forward lets a frame pass, after its delay.
func (p *path) forward(r *Rule, b []byte) {
	delay := r.Delay
	if r.Jitter > 0 {
		delay += time.Duration((2*rand.Float64() - 1) * float64(r.Jitter))
	}
	if delay <= 0 && p.waiting.Load() == 0 {
		p.write(b)
		return
	}
	due := time.Now().Add(delay)
	if due.Before(p.last) {
		due = p.last
	}
	p.last = due
	p.waiting.Add(1)
	select {
	case p.queue <- frame{due, append([]byte(nil), b...)}:
	default:
		p.waiting.Add(^uint64(0))
		p.refused.Add(1)
	}
}

// deliver writes what is under way, each frame at its time.
func (p *path) deliver() {
	for f := range p.queue {
		time.Sleep(time.Until(f.due))
		p.write(f.data)
		p.waiting.Add(^uint64(0))
	}
}

func (p *path) write(b []byte) {
	if _, err := p.to.Write(b); err != nil {
		p.refused.Add(1) // the device is down, or its queue is full, as a switch's port may be
		return
	}
	p.passed.Add(1)
}
