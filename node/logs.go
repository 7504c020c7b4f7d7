package node

import (
	"context"
	"slices"
	"sync"

	"meshnode/node/api"
)

// logsBackend reads the output of workers over the whole cluster.
type logsBackend struct{ n *Node }

// Logs implements api.Logs: first the past of all nodes in time order, then what comes, as it comes.
func (b logsBackend) Logs(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	if err := (clusterBackend{b.n}).known(q.App); err != nil {
		return err
	}
	past := q
	past.Follow = false
	var all []api.LogLine
	var mu sync.Mutex
	b.each(ctx, func(ctx context.Context, from source) {
		ctx, cancel := context.WithTimeout(ctx, 5*peerTimeout)
		defer cancel()
		_ = from(ctx, past, func(l api.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, l)
			return nil
		})
	})
	slices.SortStableFunc(all, func(a, b api.LogLine) int { return a.Time.Compare(b.Time) })
	for _, l := range all[max(0, len(all)-q.Lines):] {
		if err := emit(l); err != nil {
			return err
		}
	}
	if !q.Follow {
		return nil
	}
	return b.follow(ctx, q, emit)
}

func (b logsBackend) follow(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	q.Lines = 0
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	b.each(ctx, func(ctx context.Context, from source) {
		_ = from(ctx, q, func(l api.LogLine) error {
			mu.Lock()
			defer mu.Unlock()
			err := emit(l)
			if err != nil {
				cancel(err)
			}
			return err
		})
	})
	if err := context.Cause(ctx); err != nil && ctx.Err() != err {
		return err
	}
	return nil
}

// source reads the lines of one node.
type source func(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error

// each calls f for every living node at once and waits for all.
func (b logsBackend) each(ctx context.Context, f func(context.Context, source)) {
	var wg sync.WaitGroup
	for name, m := range b.n.members() {
		switch {
		case name == b.n.s.Node:
			wg.Go(func() { f(ctx, peerBackend{b.n}.LocalLogs) })
		case m.Status.Up():
			wg.Go(func() { f(ctx, b.n.view.clients.get(b.n.mux, name, m.Addr).LocalLogs) })
		}
	}
	wg.Wait()
}

var _ api.Logs = logsBackend{}
