package relay

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// turnReads is how often one direction reads before others have their turn (count).
const turnReads = 16

// link is one pair: flows[i] moves from sides[i] to the other.
type link struct {
	sides  [2]side
	flows  [2]flow
	tell   func(Cause)
	said   func() // called at the end of what the second side sends; nil = nobody wants to know, or was told
	peer   string // the node that it leads to or came from, "" = none
	used   int64  // when a byte moved last, on the loop's clock
	slot   int    // -1 once ended
	mark   int32
	queued bool // it is among the loop's busy ones
}

// flow is one direction.
type flow struct {
	left  []byte // read and not written
	hold  []byte // the buffer that left is a part of
	pipe  *pipe  // held while bulk flows
	piped int    // bytes in it
	full  uint8  // full buffers in a row
	bulk  bool
	ended bool // the source has come to its end
	said  bool // and the layer has said so
	done  bool // and the other side was told
}

func newLink(p Pair) *link {
	k := &link{tell: p.Over, said: p.Said, peer: p.Peer, slot: -1}
	k.sides[0] = side{Side: p.A, writable: true}
	k.sides[1] = side{Side: p.B, writable: true}
	return k
}

// over reports whether both directions have ended.
func (k *link) over() bool { return k.flows[0].done && k.flows[1].done }

// drop closes both sockets, as a reset if need be.
func (k *link) drop(reset bool) {
	for i := range k.sides {
		k.sides[i].close(reset)
	}
}

// event notes what the kernel says of one side.
func (k *link) event(i int, events uint32) {
	s := &k.sides[i]
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.readable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		s.ending = true
	}
	if events&unix.EPOLLERR != 0 {
		s.failed = true
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR) != 0 {
		s.writable = true
	}
}

// move does what can be done in both directions. more means that there is more than one turn allows.
func (k *link) move(l *loop) (more bool, err error) {
	for i := range k.flows {
		m, err := k.pump(l, i)
		if err != nil {
			return false, err
		}
		more = more || m
	}
	return more, nil
}

// errFailed means that a side failed while nothing could be read of it.
var errFailed = errors.New("the socket failed")

// pump moves what it can in one direction.
func (k *link) pump(l *loop, i int) (more bool, err error) {
	f, src, dst := &k.flows[i], &k.sides[i], &k.sides[1-i]
	for range turnReads {
		if clear, err := k.flush(l, f, dst); err != nil || !clear {
			if src.failed {
				err = errFailed // what waits would reach nobody who could be answered
			}
			return false, err
		}
		if f.done {
			if src.failed { // a reset behind the end
				return false, errFailed
			}
			return false, nil
		}
		if f.ended {
			if err := k.end(l, f, dst); err != nil {
				return false, err
			}
			continue
		}
		if !src.readable {
			return false, nil
		}
		if f.bulk {
			err = k.pour(l, f, src)
		} else {
			err = k.copy(l, f, src, dst)
		}
		switch {
		case err == nil:
			k.used = l.now
		case errors.Is(err, unix.EAGAIN):
			src.readable = false
		case errors.Is(err, io.EOF):
			f.ended = true
			if len(f.left) == 0 {
				l.give(f)
			}
			if i == 1 && k.said != nil {
				k.said()
				k.said = nil
			}
		default:
			return false, err
		}
	}
	return true, nil
}

// flush writes what waits; clear means that nothing is left.
func (k *link) flush(l *loop, f *flow, dst *side) (clear bool, err error) {
	if len(f.left) == 0 && f.piped == 0 {
		return true, nil
	}
	if !dst.writable {
		return false, nil
	}
	for len(f.left) > 0 {
		n, err := dst.write(f.left)
		if err != nil {
			return false, again(dst, err)
		}
		f.left = f.left[n:]
		k.used = l.now
	}
	if f.hold != nil {
		l.mem.keep(f.hold)
		f.hold, f.left = nil, nil
	}
	for f.piped > 0 {
		n, err := f.pipe.out(dst.FD, f.piped)
		if err != nil {
			return false, again(dst, err)
		}
		f.piped -= n
		k.used = l.now
	}
	return true, nil
}

// end tells dst that nothing follows: by its layer first, whose last words may have to wait, then by the kernel.
func (k *link) end(l *loop, f *flow, dst *side) error {
	if dst.Layer != nil && !f.said {
		f.said = true
		b, err := dst.Layer.End(l.mem.out[:0])
		if err != nil {
			return err
		}
		return l.write(f, dst, b, &l.mem.out)
	}
	f.done = true
	return dst.shut()
}

// again notes that a side takes nothing now, which is no error.
func again(dst *side, err error) error {
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	dst.writable = false
	return nil
}

// copy reads once and writes at once.
func (k *link) copy(l *loop, f *flow, src, dst *side) error {
	at := &l.mem.plain // where the bytes are that are written
	buf := l.mem.plain[:firstRead]
	if src.Layer != nil || dst.Layer != nil {
		buf = l.mem.wire[:layeredSize]
		if at = &l.mem.wire; src.Layer != nil {
			at = &l.mem.plain
		}
	}
	b, err := src.read(buf, l.mem.plain)
	if len(b) == 0 {
		return err
	}
	if src.Layer == nil && dst.Layer == nil {
		if f.full = f.full + 1; len(b) < len(buf) {
			f.full = 0
		}
		f.bulk = f.full >= bulkAfter
	}
	if dst.Layer != nil {
		var serr error
		if b, serr = dst.Layer.Seal(l.mem.out[:0], b); serr != nil {
			return serr
		}
		at = &l.mem.out
	}
	if werr := l.write(f, dst, b, at); werr != nil {
		return werr
	}
	return err
}

// pour reads into a pipe, which flush empties. A flow that has thinned out is not bulk any more.
func (k *link) pour(l *loop, f *flow, src *side) error {
	if f.pipe == nil {
		if f.pipe = l.pipes.take(); f.pipe == nil {
			f.bulk = false
			return nil
		}
	}
	n, err := f.pipe.in(src.FD)
	switch {
	case errors.Is(err, unix.EAGAIN): // it may be bulk again with the next event
		l.give(f)
		return err
	case errors.Is(err, unix.EINVAL): // this kind of socket cannot be spliced
		f.bulk = false
		l.give(f)
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	f.piped = n
	f.bulk = n >= thin
	return nil
}
