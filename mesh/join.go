package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Bounds of Join and Leave.
const (
	// joinsAtOnce is how many addresses are tried at the same time.
	joinsAtOnce = 8
	// maxJoinAddrs is how many addresses, names resolved, one Join tries.
	maxJoinAddrs = 256
	// leaveLimit bounds Leave where its context has no deadline.
	leaveLimit = 3 * time.Second
)

// Join exchanges state with the nodes at addrs ("host:port"; names are resolved at each call and may stand for many), which makes this node a
// member of their cluster. Our own advertised address is left out. It returns how many nodes answered; the error is nil if one did, and
// otherwise tells of every address. errors.Is finds ErrOtherCluster and the errors of DialGossip in it.
//
// It blocks until every address has answered or failed, at most about five seconds for each eight of them, or until ctx ends.
func (m *Mesh) Join(ctx context.Context, addrs []string) (int, error) {
	targets, failed := m.resolve(ctx, addrs)
	type answer struct {
		addr string
		err  error
	}
	answers := make(chan answer, len(targets))
	places := make(chan struct{}, joinsAtOnce)
	if !m.enter() {
		return 0, ErrClosed
	}
	// The goroutines outlive a Join whose context ends: an exchange under way cannot be cut short. Close waits for them.
	m.wait.Go(func() {
		defer m.life.RUnlock()
		var all sync.WaitGroup
		for _, addr := range targets {
			places <- struct{}{}
			if ctx.Err() != nil {
				break
			}
			all.Go(func() {
				answers <- answer{addr, m.joinOne(addr)}
				<-places
			})
		}
		all.Wait()
	})
	joined := 0
	for range targets {
		select {
		case a := <-answers:
			if a.err == nil {
				joined++
				continue
			}
			failed = append(failed, fmt.Errorf("join %s: %w", a.addr, a.err))
		case <-ctx.Done():
			return joined, fmt.Errorf("join: %w", context.Cause(ctx))
		}
	}
	if joined > 0 {
		return joined, nil
	}
	return 0, errors.Join(failed...)
}

// enter claims the use of memberlist, to be given back by life.RUnlock; it is false once the mesh is closed.
func (m *Mesh) enter() bool {
	m.life.RLock()
	if m.closed {
		m.life.RUnlock()
		return false
	}
	return true
}

// joinOne exchanges state with one address. memberlist flattens errors into text, so the cause is taken from where it arose.
func (m *Mesh) joinOne(addr string) error {
	forget := m.transport.watchDial(addr)
	_, err := m.list.Join([]string{addr})
	cause := forget()
	switch {
	case err == nil:
		return nil
	case cause != nil:
		return cause
	case strings.Contains(err.Error(), ErrOtherCluster.Error()):
		return fmt.Errorf("%w (this node: %s)", ErrOtherCluster, m.facts.allegiance())
	}
	return err
}

// resolve turns addresses into distinct "ip:port", without our own.
func (m *Mesh) resolve(ctx context.Context, addrs []string) (targets []string, failed []error) {
	seen := map[string]bool{m.facts.self.Addr: true}
	for _, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			failed = append(failed, fmt.Errorf("join %s: %w", addr, err))
			continue
		}
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			failed = append(failed, fmt.Errorf("join %s: %w", addr, err))
			continue
		}
		for _, ip := range ips {
			target := net.JoinHostPort(ip.Unmap().String(), port)
			if !seen[target] && len(targets) < maxJoinAddrs {
				seen[target] = true
				targets = append(targets, target)
			}
		}
	}
	return targets, failed
}

// Leave tells the others that this node goes for good, so that they do not count it as failed. It blocks until the news has been sent, at most
// until ctx ends or, without a deadline, 3 s. The mesh must still be closed.
func (m *Mesh) Leave(ctx context.Context) error {
	if !m.enter() {
		return ErrClosed
	}
	defer m.life.RUnlock()
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leaveLimit)
		defer cancel()
	}
	self := originOf(m.facts.self)
	sent := make(chan struct{})
	m.queue.QueueBroadcast(&broadcast{name: "leave/" + self.name, message: appendMessage(nil, kindLeave, self), sent: sent})
	m.keeper.inbox.leave(func(n *notes) bool { return put(n.leaves, self.name, self, maxMembers) })
	if m.facts.alive.Load() > 1 {
		select {
		case <-sent:
		case <-ctx.Done():
			// Nobody listens; memberlist's own message below is tried all the same.
		}
	}
	deadline, _ := ctx.Deadline()
	if err := m.list.Leave(max(time.Until(deadline), gossipInterval)); err != nil {
		return fmt.Errorf("leave the mesh: %w", err)
	}
	return nil
}

// Dismiss tells all that a failed member will not come back, as if it had said so itself before it died. It does not wait for the network. A name that
// is none of a failed member is an ErrNotFailed; of one that has left already nothing is said. A later process of that name is a member like any other.
func (m *Mesh) Dismiss(name string) error {
	if !m.enter() {
		return ErrClosed
	}
	defer m.life.RUnlock()
	for _, member := range *m.facts.members.Load() {
		if member.Name != name {
			continue
		}
		switch member.Status {
		case Left:
			return nil
		case Failed:
			from := originOf(member)
			if !m.keeper.inbox.leave(func(n *notes) bool { return put(n.leaves, name, from, maxMembers) }) {
				return fmt.Errorf("dismiss %s: too many notices at once", name)
			}
			return nil
		}
	}
	return fmt.Errorf("dismiss %s: %w", name, ErrNotFailed)
}

// reconnect exchanges state with a failed member: after a long partition neither side would ever look for the other.
func (m *Mesh) reconnect(addr string) {
	if !m.enter() {
		return
	}
	defer m.life.RUnlock()
	if err := m.joinOne(addr); err != nil {
		m.log.Debug("a failed member is still out of reach", "addr", addr, "err", err)
	}
}

// gossipMessage queues a user message; a newer one of the same name replaces it. The queue is bounded.
func (m *Mesh) gossipMessage(name string, message []byte) {
	m.queue.QueueBroadcast(&broadcast{name: name, message: message})
	if m.queue.NumQueued() > maxQueued {
		m.queue.Prune(maxQueued)
	}
}
