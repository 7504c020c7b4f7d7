package node

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"meshnode/store/fsm"
	"meshnode/store/spec"
)

const (
	listenEvery  = 2 * time.Second // between tries for a listener that could not be opened
	learnedQueue = 64              // addresses waiting to be recorded (count); further ones are asked for again by the next worker
)

// learnt is an address that an app's worker asked for by itself.
type learnt struct{ app, addr string }

// keyOf is the key that Node workers use for a client address of the configuration, so that both find the same listener.
func keyOf(addr string) (key, host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(addr)
	port, perr := strconv.Atoi(text)
	if err != nil || perr != nil {
		return "", "", 0, false
	}
	name, family := host, "4"
	if host == "" {
		name = "null"
	} else if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		family = "6"
	}
	return name + ":" + text + ":" + family, host, port, true
}

// syncListeners opens the client addresses of every app that runs, given and learned, whether or not a worker is ready here: a connection
// waits for one, or goes to a peer. It closes those of apps that do not run.
func (n *Node) syncListeners(c *spec.Cluster) {
	for _, l := range n.proxy.Listeners() {
		if app, ok := c.Apps[l.App]; !ok || app.Stopped {
			n.routes.close(l.App)
		}
	}
	for _, name := range n.routes.shared.apps() {
		if app, ok := c.Apps[name]; !ok || app.Stopped {
			n.routes.close(name)
		}
	}
	if n.view.draining.Load() {
		return
	}
	for _, app := range c.Apps {
		if app.Stopped {
			continue
		}
		all := slices.Concat(app.Listen, app.Learned, stableListen(c, app))
		n.syncDatagrams(app, all)
		for _, addr := range all {
			key, host, port, ok := keyOf(addr)
			if !ok {
				continue
			}
			if _, err := n.routes.open(listenKey{app.Name, key}, host, port, false); err != nil {
				n.log.Debug("client address cannot be opened", "app", app.Name, "addr", addr, "err", err)
			}
		}
	}
}

// stableListen are the addresses of the release that an open rollout may go back to, and that the other nodes serve.
func stableListen(c *spec.Cluster, app spec.App) []string {
	stable, _ := c.Past(app.Name, app.Rollout.Stable)
	return stable.App.Listen
}

// leftLimit is how long sockets of a former run wait for somebody who wants them. The configuration comes back step by step, an app perhaps long
// after the first of it, and what waits in the backlog of its socket is not to be lost.
const leftLimit = 30 * time.Second

// keepListeners follows the configuration, and tries again what could not be opened.
func (n *Node) keepListeners(ctx context.Context) {
	retry := time.NewTicker(listenEvery)
	defer retry.Stop()
	left := time.NewTimer(leftLimit)
	defer left.Stop()
	changes := n.store.Watch(ctx)
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				return
			}
			n.syncListeners(c)
		case <-left.C:
			if n.store.State().ID == "" {
				left.Reset(leftLimit) // it is not known yet what is wanted
				continue
			}
			for _, k := range n.view.kept {
				k.dropLeft()
			}
			n.datagrams.Forgo()
		case <-retry.C:
			if len(n.routes.faults()) > 0 {
				n.syncListeners(n.store.State())
			}
		}
	}
}

// noteLearned has an address recorded in the configuration, so that every node opens it at once, also one that has no worker ready.
func (n *Node) noteLearned(app, addr string) {
	a, ok := n.store.State().Apps[app]
	if !ok || slices.Contains(a.Listen, addr) || slices.Contains(a.Learned, addr) {
		return
	}
	select {
	case n.view.learned <- learnt{app, addr}:
	default:
		n.tele.IncrCounter(metricLearnedDropped, 1)
	}
}

// recordLearned writes learned addresses into the configuration.
func (n *Node) recordLearned(ctx context.Context) {
	for {
		select {
		case l := <-n.view.learned:
			if a := n.store.State().Apps[l.app]; slices.Contains(a.Learned, l.addr) {
				continue
			}
			if _, err := n.propose(ctx, fsm.Command{Learn: &fsm.Learn{App: l.app, Listen: []string{l.addr}}}); err != nil && ctx.Err() == nil {
				n.log.Warn("cannot record a client address; other servers open it when a worker of theirs asks for it", "app", l.app, "addr", l.addr, "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
