package output

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// poller wakes the reader of a pipe once when something is in it, and not again until it is asked to. The runtime's own poller cannot:
// it hears of every write to every pipe, which costs the writer a system call's worth of waking each time. Only our epoll descriptor
// is in the runtime's.
type poller struct {
	ep   *os.File
	raw  syscall.RawConn
	done chan struct{}

	mu    sync.Mutex
	ready map[int32]chan<- struct{}
	last  int32
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make an epoll descriptor: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set up the epoll descriptor: %w", err)
	}
	p := &poller{ep: os.NewFile(uintptr(fd), "epoll"), done: make(chan struct{}), ready: make(map[int32]chan<- struct{})}
	if p.raw, err = p.ep.SyscallConn(); err != nil {
		p.ep.Close()
		return nil, fmt.Errorf("set up the epoll descriptor: %w", err)
	}
	return p, nil
}

// run passes on what the kernel says until close.
func (p *poller) run() {
	defer close(p.done)
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := p.raw.Read(func(fd uintptr) bool {
			k, err := unix.EpollWait(int(fd), events, 0)
			n = max(k, 0)
			return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
		})
		if err != nil {
			return
		}
		p.mu.Lock()
		for _, e := range events[:n] {
			if c := p.ready[e.Fd]; c != nil {
				poke(c)
			}
		}
		p.mu.Unlock()
	}
}

func (p *poller) close() {
	if p == nil {
		return
	}
	p.ep.Close()
	<-p.done
}

// add has c poked once for every arm.
func (p *poller) add(c chan<- struct{}) (token int32) {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	p.ready[p.last] = c
	return p.last
}

// arm waits for something to read.
func (p *poller) arm(fd int, token int32) error {
	if p == nil {
		return errors.ErrUnsupported
	}
	return p.control(unix.EPOLL_CTL_ADD, fd, token)
}

// disarm takes the pipe out altogether. One that is only switched off still costs the writer a call into epoll with every write.
func (p *poller) disarm(fd int, token int32) {
	if p != nil {
		_ = p.control(unix.EPOLL_CTL_DEL, fd, token) // it may not be in
	}
}

// forget ends what add began. The pipe is disarmed before, while its descriptor is still ours.
func (p *poller) forget(token int32) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ready, token)
}

func (p *poller) control(op, fd int, token int32) error {
	var err error
	e := p.raw.Control(func(ep uintptr) {
		err = unix.EpollCtl(int(ep), op, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: token})
	})
	return errors.Join(e, err)
}

// poke wakes whoever reads c; several pokes may become one.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
