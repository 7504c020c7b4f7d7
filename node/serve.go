package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/node/reconcile"
	"meshnode/node/telemetry"
	"meshnode/store/spec"
)

// openPeers answers the peers: their forwards and their questions.
func (n *Node) openPeers(context.Context) error {
	forwards := n.mux.Listen(mux.Forward)
	n.closeLater("forwards", forwards.Close)
	n.life.wg.Go(func() { _ = n.proxy.ServeForwards(forwards) })
	datagrams := n.mux.Listen(mux.Datagram)
	n.closeLater("peers' datagrams", datagrams.Close)
	n.life.wg.Go(func() { _ = n.datagrams.ServePeers(datagrams) })
	srv := api.NewServer(api.Options{Peer: peerBackend{n}, Explains: explainBackend{n}, Door: doorOf(n), Logger: n.log, Metrics: n.tele.Metrics,
		Access: api.Access{Audits: auditsBackend{n}, Caller: callerVia(api.ViaPeer)}})
	questions := n.mux.Listen(mux.API)
	n.closeLater("peer api", srv.Close)
	n.life.wg.Go(func() {
		if err := srv.Serve(questions); err != nil {
			n.end(fmt.Errorf("answer the peers: %w", err))
		}
	})
	n.closeLater("peer clients", func() error { n.view.clients.close(); return nil })
	return nil
}

// doorOf answers for who is let in, to the operator and to peers.
func doorOf(n *Node) api.Door {
	return api.Door{Admissions: admissionsBackend{n}, Tokens: tokensBackend{n}, Keys: keysBackend{n}}
}

// openLoops starts everything that goes on by itself.
func (n *Node) openLoops(ctx context.Context) error {
	n.view.learned = make(chan learnt, learnedQueue)
	changed := make(chan struct{}, 1)
	n.life.wg.Go(func() {
		for range n.store.Watch(ctx) {
			poke(changed)
		}
	})
	loop := reconcile.NewLoop(actuator{n}, changed, n.sup.Changed())
	for _, run := range []func(context.Context){n.view.sampler.Run, n.keepReporting, n.followCluster, n.keepBalance, n.keepGates, n.join, n.keepListeners, n.recordLearned, n.keepLogs, loop.Run} {
		n.life.wg.Go(func() { run(ctx) })
	}
	if n.o.App != nil {
		n.life.wg.Go(func() { n.putApp(ctx, *n.o.App) })
	}
	return nil
}

// putApp puts the app of the verb run on the cluster as soon as it can be.
func (n *Node) putApp(ctx context.Context, app spec.App) {
	for c := range n.store.Watch(ctx) {
		if c.ID == "" {
			continue
		}
		if _, err := (appsBackend{n}).Start(ctx, api.StartRequest{App: app, Replace: true}); err != nil && ctx.Err() == nil {
			if code := api.CodeOf(err); code == api.CodeNoQuorum || code == api.CodeConflict {
				continue // the next change of the configuration comes with a leader, or ends the rollout of another release
			}
			n.end(fmt.Errorf("start %s: %w", app.Name, err))
			return
		}
		if err := n.o.Keeper.Hold(KeptApp, nil); err != nil {
			n.log.Warn("the app of this command line would be put on the cluster again", "app", app.Name, "err", err)
		}
		return
	}
}

// openHTTP serves metrics and health on the address of -http.
func (n *Node) openHTTP(ctx context.Context) error {
	if n.s.HTTP == "" {
		return nil
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", n.s.HTTP)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the address %s for metrics and health is in use by another program; choose another with -http, or turn it off with -http ''", n.s.HTTP)
	}
	if err != nil {
		return fmt.Errorf("-http %s: %w", n.s.HTTP, err)
	}
	n.closeLater("http", l.Close)
	if err := n.collect(); err != nil {
		return err
	}
	n.life.wg.Go(func() {
		if err := telemetry.Serve(l, n.tele, n.healthy); err != nil {
			n.log.Error("metrics and health are not served any more", "err", err)
		}
	})
	return nil
}

// healthy is false while the node drains or belongs to no cluster: a health check then sends new connections elsewhere.
func (n *Node) healthy() (bool, string) {
	switch {
	case n.view.draining.Load():
		return false, "draining"
	case n.store.State().ID == "":
		return false, "joining"
	}
	return true, "ok"
}

// control is what operators get, whichever way they come; caller says who is at the other end.
func (n *Node) control(ctx context.Context, caller func(net.Conn) api.Caller) api.Options {
	return api.Options{Local: true, Cluster: clusterBackend{n}, Members: membersBackend{n}, Apps: appsBackend{n}, Releases: releasesBackend{n}, Rescue: rescueBackend{n, ctx, &atomic.Bool{}}, Logs: logsBackend{n},
		Upgrades: upgradeBackend{n}, Explains: explainBackend{n}, Door: doorOf(n), Logger: n.log, Metrics: n.tele.Metrics,
		Access: api.Access{Audits: auditsBackend{n}, Operators: operatorsBackend{n}, Caller: caller}}
}

// openSocket answers the operator, on a Unix socket that only the owner of the node may use.
func (n *Node) openSocket(ctx context.Context) error {
	path := n.dir.join(config.SocketName)
	_ = os.Remove(path) // of a former run; the lock on the folder says that nobody listens
	old := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("open the control socket %s: %w", path, err)
	}
	srv := api.NewServer(n.control(ctx, nil))
	n.closeLater("control socket", srv.Close)
	n.life.wg.Go(func() {
		if err := srv.Serve(l); err != nil && ctx.Err() == nil {
			n.end(fmt.Errorf("answer the operator: %w", err))
		}
	})
	return nil
}

// peerTimeout is how long a peer may take for its part of an answer: a dead one must not hold up the whole.
const peerTimeout = time.Second
