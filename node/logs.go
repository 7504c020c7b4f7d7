package node

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"meshnode/mesh"
	"meshnode/node/api"
)

// Times of following a log over the cluster.
const (
	pastTime   = 5 * time.Second       // how long the past of a node is waited for
	lookAround = 2 * time.Second       // between two looks at who is there
	pause      = 50 * time.Millisecond // between two looks at lines held back
)

// sourceLines is how many lines of one node wait to be merged. More wait in its connection, and then in the node itself, which drops them.
const sourceLines = 256

// logsBackend reads the output of workers over the whole cluster.
type logsBackend struct{ n *Node }

// Logs implements api.Logs: first the past of all nodes in time order, then what comes, nearly so.
func (b logsBackend) Logs(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	for _, app := range q.Apps {
		if err := (clusterBackend{b.n}).known(app); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &tailing{n: b.n, q: q, emit: emit, in: make(chan arrival, sourceLines), from: make(map[string]bool), named: make(map[string]bool)}
	defer t.wg.Wait()
	defer cancel()
	if err := t.past(ctx); err != nil || !q.Follow {
		return err
	}
	return t.follow(ctx)
}

// arrival is what a node has sent.
type arrival struct {
	node string
	line api.LogLine
	over bool // the node sends no more
	err  error
}

// tailing is one reader of the whole cluster's logs. Its goroutine owns all; each node is read by one of its own.
type tailing struct {
	n     *Node
	q     api.LogQuery
	emit  func(api.LogLine) error
	in    chan arrival
	wg    sync.WaitGroup
	from  map[string]bool // nodes that are being read; true while their past is
	named map[string]bool // nodes that were called unreachable
	lines []api.LogLine   // the past
	held  heldBack
}

// look begins to read from every node that is not read yet. It names those that are gone.
func (t *tailing) look(ctx context.Context, q api.LogQuery) error {
	for name, m := range t.n.members() {
		if _, reading := t.from[name]; reading || t.q.Node != "" && t.q.Node != name || m.Status == mesh.Left {
			continue
		}
		var read source = peerBackend{t.n}.LocalLogs
		if name != t.n.s.Node {
			if !m.Status.Up() {
				if err := t.unreachable(name, "gossip calls it "+string(m.Status)); err != nil {
					return err
				}
				continue
			}
			read = t.n.view.clients.get(t.n.mux, name, m.Addr).LocalLogs
		}
		t.from[name] = true
		t.wg.Go(func() {
			err := read(ctx, q, func(l api.LogLine) error { return t.send(ctx, arrival{node: name, line: l}) })
			_ = t.send(ctx, arrival{node: name, over: true, err: err}) // nobody listens any more
		})
	}
	return nil
}

func (t *tailing) send(ctx context.Context, a arrival) error {
	select {
	case t.in <- a:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tailing) unreachable(node, why string) error {
	if t.named[node] {
		return nil
	}
	t.named[node] = true
	return t.emit(api.LogLine{Time: time.Now().UTC(), Node: node, Kind: api.KindUnreachable, Text: why})
}

// past emits what was written before, of all nodes.
func (t *tailing) past(ctx context.Context) error {
	if err := t.look(ctx, t.q); err != nil {
		return err
	}
	late := time.NewTimer(pastTime)
	defer late.Stop()
	for t.waiting() {
		select {
		case a := <-t.in:
			if err := t.arrived(a); err != nil {
				return err
			}
		case <-late.C:
			for _, name := range t.silent() {
				if err := t.unreachable(name, "it does not answer"); err != nil {
					return err
				}
			}
			return t.tell()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return t.tell()
}

// tell emits the newest lines of the past.
func (t *tailing) tell() error {
	slices.SortStableFunc(t.lines, func(a, b api.LogLine) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Node, b.Node)) })
	for _, l := range t.lines[max(0, len(t.lines)-t.q.Lines):] {
		if err := t.emit(l); err != nil {
			return err
		}
	}
	t.lines = nil
	return nil
}

func (t *tailing) silent() (out []string) {
	for name, past := range t.from {
		if past {
			out = append(out, name)
		}
	}
	return out
}

// waiting reports whether the past of a node is not all here.
func (t *tailing) waiting() bool { return len(t.silent()) > 0 }

// arrived sorts in what a node has sent.
func (t *tailing) arrived(a arrival) error {
	switch {
	case a.over:
		delete(t.from, a.node)
		if a.err != nil {
			return t.unreachable(a.node, a.err.Error())
		}
	case a.line.Kind == api.KindNow:
		t.from[a.node] = false
		delete(t.named, a.node)
	case t.from[a.node] && a.line.Kind == "":
		t.lines = append(t.lines, a.line)
	default:
		t.held.push(a.line, time.Now())
	}
	return nil
}

// follow emits what comes, each line held back for a moment so that those of other nodes can be put before it.
func (t *tailing) follow(ctx context.Context) error {
	again := t.q
	again.Lines = 0
	around := time.NewTicker(lookAround)
	defer around.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case a := <-t.in:
			if err := t.arrived(a); err != nil {
				return err
			}
			if t.held.room() {
				continue
			}
		case <-tick.C:
		case <-around.C:
			if err := t.look(ctx, again); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		hold := holdTime
		if len(t.from) <= 1 { // there is nobody to wait for
			hold = 0
		}
		late := t.lines // of a node whose past came too late
		t.lines = nil
		for _, l := range append(late, t.held.due(time.Now(), hold)...) {
			if err := t.emit(l); err != nil {
				return err
			}
		}
	}
}

// source reads the lines of one node.
type source func(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error

// Tend implements api.Logs.
func (b logsBackend) Tend(ctx context.Context, o api.Order) ([]api.OrderAnswer, error) {
	if err := (clusterBackend{b.n}).known(o.App); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var out []api.OrderAnswer
	var wg sync.WaitGroup
	for name, m := range b.n.members() {
		if m.Status == mesh.Left {
			continue
		}
		tend := peerBackend{b.n}.TendLocal
		if name != b.n.s.Node {
			tend = b.n.view.clients.get(b.n.mux, name, m.Addr).TendLocal
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, pastTime)
			defer cancel()
			a := api.OrderAnswer{Node: name}
			if err := tend(ctx, o); err != nil {
				a.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			out = append(out, a)
		})
	}
	wg.Wait()
	slices.SortFunc(out, func(a, b api.OrderAnswer) int { return cmp.Compare(a.Node, b.Node) })
	return out, nil
}

var _ api.Logs = logsBackend{}

// Logs of apps that are gone from the configuration are kept for logsKept after their last line, and looked for every logsLook.
const (
	logsKept = 7 * 24 * time.Hour
	logsLook = time.Hour
)

// keepLogs removes what workers of apps printed that are long gone.
func (n *Node) keepLogs(ctx context.Context) {
	t := time.NewTicker(logsLook)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		c := n.store.State()
		if c.ID == "" {
			continue
		}
		gone, err := n.sup.RemoveOldLogs(logsKept, func(app string) bool { _, ok := c.Apps[app]; return ok })
		if err != nil {
			n.log.Warn("old logs cannot be removed", "err", err)
		}
		for _, app := range gone {
			n.log.Info("logs of a deleted app removed", "app", app)
		}
	}
}
