package relay

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// bulkAfter is how many full reads in a row make a flow bulk, thin the number of bytes at once below which it is not any more.
	bulkAfter = 1
	thin      = 16 << 10
	pipeBytes = 256 << 10
	pipesKept = 64  // idle pipes of a loop kept for the next bulk flow (count)
	pipesMost = 512 // pipes of a loop (count); bulk beyond that is copied
)

// pipe is a kernel pipe through which bulk moves from socket to socket without being copied to us.
type pipe struct{ r, w int }

// pipes are those of one loop.
type pipes struct {
	idle    []*pipe
	made    atomic.Int32
	refused atomic.Uint64
}

// take returns an empty pipe, nil if there is none to be had.
func (p *pipes) take() *pipe {
	if n := len(p.idle); n > 0 {
		out := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return out
	}
	var f [2]int
	if p.made.Load() >= pipesMost || unix.Pipe2(f[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		p.refused.Add(1)
		return nil
	}
	p.made.Add(1)
	_, _ = unix.FcntlInt(uintptr(f[0]), unix.F_SETPIPE_SZ, pipeBytes)
	return &pipe{f[0], f[1]}
}

// giveBack takes a pipe back; one with bytes in it is of no use any more.
func (p *pipes) giveBack(x *pipe, used bool) {
	if used || len(p.idle) >= pipesKept {
		p.discard(x)
		return
	}
	p.idle = append(p.idle, x)
}

func (p *pipes) discard(x *pipe) {
	unix.Close(x.r)
	unix.Close(x.w)
	p.made.Add(-1)
}

// close closes the idle pipes.
func (p *pipes) close() {
	for _, x := range p.idle {
		p.discard(x)
	}
	p.idle = nil
}

// in moves what a socket has into the pipe.
func (x *pipe) in(fd int) (int, error) {
	return retry(func() (int, error) {
		n, err := unix.Splice(fd, nil, x.w, nil, pipeBytes, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(n), err
	})
}

// out moves up to n bytes from the pipe to a socket.
func (x *pipe) out(fd, n int) (int, error) {
	return retry(func() (int, error) {
		m, err := unix.Splice(x.r, nil, fd, nil, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
		return int(m), err
	})
}
