package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	pipeBytes = 256 << 10
	pipesKept = 64 // idle pipes kept for the next bulk flow (count)
)

// pipe is a kernel pipe through which bulk moves from socket to socket without being copied to us.
type pipe struct{ r, w int }

// pipes keeps idle pipes. One that does not fit is closed, so descriptors are bounded by the flows that are bulk this moment.
type pipes chan pipe

func (k pipes) take() (pipe, error) {
	select {
	case p := <-k:
		return p, nil
	default:
	}
	var f [2]int
	if err := unix.Pipe2(f[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return pipe{}, err
	}
	_, _ = unix.FcntlInt(uintptr(f[0]), unix.F_SETPIPE_SZ, pipeBytes)
	return pipe{f[0], f[1]}, nil
}

// keep takes an empty pipe back.
func (k pipes) keep(p pipe) {
	select {
	case k <- p:
	default:
		p.close()
	}
}

// close closes the idle pipes, once nobody takes any.
func (k pipes) close() {
	close(k)
	for p := range k {
		p.close()
	}
}

func (p pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// moveBulk moves bytes inside the kernel while they come in bulk, and returns when the flow thins out: then small copies are cheaper, and
// an idle connection should hold no pipe. end is set at the end of src. Without a pipe to be had it does nothing.
func (k pipes) moveBulk(dst, src syscall.RawConn) (end bool, err error) {
	p, err := k.take()
	if err != nil {
		return false, nil
	}
	for {
		n, err := spliceIn(p, src)
		switch {
		case err == unix.EAGAIN, err == unix.EINVAL: // nothing there now; or this kind of socket cannot be spliced
			k.keep(p)
			return false, nil
		case err != nil || n == 0:
			k.keep(p)
			return n == 0 && err == nil, err
		}
		if err := spliceOut(dst, p, n); err != nil {
			p.close() // it holds bytes
			return false, err
		}
		if n < bufferSize {
			k.keep(p)
			return false, nil
		}
	}
}

// spliceIn moves what src has into the pipe, without waiting.
func spliceIn(p pipe, src syscall.RawConn) (n int64, err error) {
	rerr := src.Read(func(fd uintptr) bool {
		for {
			if n, err = unix.Splice(int(fd), nil, p.w, nil, pipeBytes, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE); err != unix.EINTR {
				return true
			}
		}
	})
	if rerr != nil {
		return 0, rerr
	}
	return n, err
}

// spliceOut moves n bytes from the pipe to dst, waiting for room.
func spliceOut(dst syscall.RawConn, p pipe, n int64) (err error) {
	for n > 0 {
		var m int64
		werr := dst.Write(func(fd uintptr) bool {
			m, err = unix.Splice(p.r, nil, int(fd), nil, int(n), unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
			return err != unix.EAGAIN
		})
		switch {
		case werr != nil:
			return werr
		case err == unix.EINTR:
			continue
		case err != nil:
			return err
		}
		n -= m
	}
	return nil
}
