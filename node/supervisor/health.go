package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/nodeipc"
)

// Bounds of health checks.
const (
	startingInterval = time.Second // between checks of a worker that has not passed one yet
	maxAnswer        = 64 << 10    // bytes of an answer that are read
	jitter           = 0.1         // share by which an interval is varied, so that not all workers are asked at once
)

// health is what the checks of one worker say.
type health struct {
	mu     sync.Mutex
	ill    string // why it is ill, empty = well
	last   string // the last check that failed
	failed int    // checks in a row
	passed int
}

// checked reports whether the worker is asked. A Node.js worker that only had to accept is watched by its pulse.
func (p *process) checked() bool {
	return p.spec.Health.Path != "" || p.spec.Health.TCP && p.Channel == nil && p.Addr != "" && !p.spec.Datagrams
}

// illness is why the worker is not well, empty if it is.
func (p *process) illness() string {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	return p.health.ill
}

// ailing reports whether the worker has failed so many checks that it is to be replaced: twice what takes it out of the routing.
func (p *process) ailing() bool {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	return p.health.ill != "" && p.health.failed >= 2*p.spec.Health.Fall
}

// isUp reports whether the worker has come up, and has only to pass its health check.
func (p *process) isUp() bool {
	select {
	case <-p.up:
		return true
	default:
		return false
	}
}

// lastFailure is what the last check that failed said.
func (p *process) lastFailure() string {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	return p.health.last
}

// note takes in the outcome of a check of a worker that has passed one before.
func (h *health) note(of Health, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.failed = 0
		if h.passed++; h.passed >= of.Rise {
			h.ill = ""
		}
		return
	}
	h.passed = 0
	if h.failed++; h.failed >= of.Fall {
		h.ill = "its health check fails: " + err.Error()
	}
}

// mindHealth checks a worker that is up, until dead. The first check that passes makes it ready.
func (p *process) mindHealth(dead <-chan struct{}) {
	passed := p.record().Ready // by a former run of the node
	if !passed {
		select {
		case <-p.up:
		case <-dead:
			return
		}
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-dead:
			return
		}
		err := p.check()
		switch {
		case !passed && err != nil:
			p.health.mu.Lock()
			p.health.last = err.Error()
			p.health.mu.Unlock()
		case passed:
			p.health.note(p.spec.Health, err)
		default:
			passed = true
			p.reportReady()
		}
		next := p.spec.Health.Interval
		if !passed {
			next = min(next, startingInterval)
		}
		t.Reset(time.Duration(float64(next) * (1 + jitter*(2*rand.Float64()-1))))
	}
}

// check asks the worker once.
func (p *process) check() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.spec.Health.Timeout)
	defer cancel()
	defer p.Checking.Store(0)
	if p.spec.Health.TCP {
		return p.checkTCP(ctx)
	}
	return p.checkHTTP(ctx)
}

// checkTCP connects, and no more.
func (p *process) checkTCP(ctx context.Context) error {
	c, err := p.dial(ctx)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s is not connected within %s", p.Addr, p.spec.Health.Timeout)
	case err != nil:
		return err
	}
	return c.Close()
}

func (p *process) checkHTTP(ctx context.Context) error {
	of := p.spec.Health
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return p.dial(ctx) }}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+of.Path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "meshnode-health")
	res, err := (&http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if ctx.Err() != nil {
		return fmt.Errorf("GET %s has no answer within %s", of.Path, of.Timeout)
	}
	if err != nil {
		return fmt.Errorf("GET %s: %w", of.Path, err)
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // a short body ends earlier
	if res.StatusCode >= 400 {
		return fmt.Errorf("GET %s is answered with %s", of.Path, res.Status)
	}
	return nil
}

// bindCheck settles from which port a check asks, before it connects.
func (p *process) bindCheck(raw syscall.RawConn) error {
	var err error
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.Bind(int(fd), &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return
		}
		var sa unix.Sockaddr
		if sa, err = unix.Getsockname(int(fd)); err == nil {
			p.Checking.Store(uint32(sa.(*unix.SockaddrInet4).Port))
		}
	})
	return errors.Join(cerr, err)
}

// dial opens a connection to this very worker: to its private port, or by giving it one end of a socket pair.
func (p *process) dial(ctx context.Context) (net.Conn, error) {
	if p.Channel == nil {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error { return p.bindCheck(raw) }}
		d.SetMultipathTCP(false)
		c, err := d.DialContext(ctx, "tcp", p.Addr)
		if err == nil && len(p.spec.Health.Header) > 0 {
			_, err = c.Write(p.spec.Health.Header) // it fits into the socket's buffer
		}
		return c, err
	}
	listens := slices.DeleteFunc(slices.Clone(p.record().Listens), func(q nodeipc.Query) bool { return q.UDP() || q.Port < 0 })
	if len(listens) == 0 {
		return nil, errors.New("the worker does not listen")
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "health")
	defer f.Close() // FileConn duplicates
	err = p.Channel.Offer(listens[0].Key, fds[1], netip.AddrPort{}, func(nodeipc.Outcome) {})
	unix.Close(fds[1])
	if err != nil {
		return nil, err
	}
	return net.FileConn(f)
}
