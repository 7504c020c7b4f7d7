package output

import (
	"sync/atomic"
	"time"
)

// Bounds of what waits for the disks.
const (
	blockBytes = 256 << 10
	fileBlocks = 64  // of one file
	allBlocks  = 192 // of all files
	freeBlocks = 8   // kept for the next gulp
)

// block is a piece of a file that waits to be written: whole lines.
type block struct {
	b     []byte
	lines uint64    // of workers
	noted uint64    // lines that a note in this block calls dropped
	from  time.Time // when the first of those was
}

// blocks hands out memory, up to a bound.
type blocks struct {
	free chan []byte
	out  atomic.Int64
}

func newBlocks() *blocks { return &blocks{free: make(chan []byte, freeBlocks)} }

// get returns an empty block, or nil when too many are out.
func (p *blocks) get() []byte {
	if p.out.Add(1) > allBlocks {
		p.out.Add(-1)
		return nil
	}
	select {
	case b := <-p.free:
		return b[:0]
	default:
		return make([]byte, 0, blockBytes)
	}
}

func (p *blocks) put(b []byte) {
	p.out.Add(-1)
	select {
	case p.free <- b:
	default:
	}
}
