package node

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// nameLimit is how long a server that has other addresses to go by waits for a name in one round.
const nameLimit = 250 * time.Millisecond

// names look join addresses up, beside whoever asks: a name server that says nothing for ten seconds holds up nobody who can do without.
type names struct {
	wg *sync.WaitGroup

	mu    sync.Mutex
	known map[string]*name // by join address
}

// name is one of them.
type name struct {
	forms []string      // "ip:port", of the last look-up that is over; empty = it does not resolve
	under chan struct{} // closed when the look-up under way is over; nil = there is none
}

func newNames(wg *sync.WaitGroup) *names { return &names{wg: wg, known: make(map[string]*name)} }

// forms are the "ip:port" forms of an address, looked up anew if that is over in time; else those of the last time.
func (x *names) forms(ctx context.Context, addr string, limit time.Duration) []string {
	if at, err := netip.ParseAddrPort(addr); err == nil {
		return []string{at.String()}
	}
	x.mu.Lock()
	e := x.known[addr]
	if e == nil {
		e = &name{}
		x.known[addr] = e
	}
	if e.under == nil {
		e.under = make(chan struct{})
		x.wg.Go(func() { x.look(ctx, addr, e) })
	}
	under := e.under
	x.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-under:
	case <-t.C:
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return e.forms
}

func (x *names) look(ctx context.Context, addr string, e *name) {
	forms := lookUp(ctx, addr)
	x.mu.Lock()
	defer x.mu.Unlock()
	e.forms = forms
	close(e.under)
	e.under = nil
}

// lookUp gives the "ip:port" forms of an address; a name that does not resolve has none.
func lookUp(ctx context.Context, addr string) []string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return out
}

// resolve is the same, as long as it takes.
func resolve(addr string) []string { return lookUp(context.Background(), addr) }
