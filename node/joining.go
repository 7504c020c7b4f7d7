package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"meshnode/mesh/mux"
	"meshnode/node/api"
)

// Times of joining.
const (
	helloLimit = 2 * time.Second
	joinEvery  = time.Second     // between tries while this server belongs to no cluster, or is alone
	seekEvery  = 5 * time.Second // between rounds of greetings in a cluster that stands
	remindTime = 30 * time.Second
	protocol   = 1 // version of the peers' routes
)

// hello is how this server describes itself to a peer.
func (n *Node) hello() api.Hello {
	h := api.Hello{Node: n.s.Node, ID: n.who.ID, Addr: n.who.addr, Version: n.o.Version, Protocol: protocol, Members: 1}
	if n.store == nil {
		return h
	}
	st := n.store.State()
	h.Cluster, h.Configured = st.ID, len(st.Apps) > 0
	if alive := n.aliveMembers(); alive > 0 {
		h.Members = alive
	}
	// Its own cluster and nobody else's: founded, and never joined by another.
	h.Fresh = h.Cluster != "" && len(n.store.Servers()) <= 1 && h.Members <= 1 && len(st.Lost) == 0
	return h
}

func (n *Node) aliveMembers() int {
	k := 0
	for _, m := range n.members() {
		if m.Status.Up() {
			k++
		}
	}
	return k
}

// greetPeer exchanges hellos with the node at addr.
func (n *Node) greetPeer(ctx context.Context, addr string) (api.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	c := api.NewClient(func(ctx context.Context) (net.Conn, error) { return n.mux.Dial(ctx, mux.API, addr) })
	defer c.Close()
	return c.Hello(ctx, n.hello())
}

// othersHaveCluster asks the other join addresses, once, whether there is a cluster already: a seed whose disk was wiped must not found
// another.
func (n *Node) othersHaveCluster() bool {
	for _, addr := range n.who.join[1:] {
		if own(addr, n.s) {
			continue
		}
		if h, err := n.greetPeer(context.Background(), addr); err == nil && h.Cluster != "" {
			n.log.Info("a cluster exists already, joining it", "addr", addr)
			return true
		}
	}
	return false
}

// join brings this server into its cluster and greets, for as long as it runs, join addresses and servers of the configuration: they may be
// of a part of the cluster that was cut off, or of a server whose disk was wiped.
func (n *Node) join(ctx context.Context) {
	waiting, by := &reminder{}, newNames(&n.life.wg)
	for {
		fresh := n.store.State().ID == "" // belongs to no cluster yet: a mistake is the operator's to see now
		settled := true
		for _, addr := range n.targets(ctx, by) {
			member, err := n.joinBy(ctx, addr)
			settled = settled && (member || err != nil)
			switch {
			case ctx.Err() != nil:
				return
			case err == nil:
			case api.CodeOf(err) == api.CodeGivenUp:
				n.beGivenUp()
				return
			case api.CodeOf(err) == api.CodeExpelled:
				n.end(err)
				return
			case fresh && final(err):
				n.end(fmt.Errorf("cannot join %s: %w", addr, explain(err)))
				return
			case waiting.due(addr, explain(err).Error()):
				n.log.Warn("waiting for a join address", "addr", addr, "reason", explain(err))
			}
		}
		pause := seekEvery
		if fresh || !settled || n.aliveMembers() <= 1 {
			pause = joinEvery
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// greetings is how many addresses are greeted in one round at the most (count).
const greetings = 8

// targets are the addresses to greet in this round: servers of the configuration and join addresses, a random few if they are many. Living
// members are among them: a server whose disk was wiped answers to its old name, and only a greeting tells that it is another.
// Names are looked up anew each time. Where servers are known, no name is waited for, and one that does not resolve is passed over.
func (n *Node) targets(ctx context.Context, by *names) []string {
	var out []string
	seen := map[string]bool{n.who.addr: true}
	add := func(addr string, forms []string) {
		forms = append(forms, addr)
		if slices.ContainsFunc(forms, func(a string) bool { return seen[a] }) {
			return
		}
		for _, a := range forms {
			seen[a] = true
		}
		out = append(out, addr)
	}
	limit := farAway
	for _, s := range n.store.Servers() {
		if s.ID != n.who.ID {
			add(s.Addr, nil)
			limit = nameLimit
		}
	}
	for _, addr := range n.who.join {
		forms := by.forms(ctx, addr, limit)
		if ownForms(addr, forms, n.s) || len(forms) == 0 && limit == nameLimit {
			continue
		}
		add(addr, forms)
	}
	if len(out) > greetings {
		rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		out = out[:greetings]
	}
	return out
}

// farAway is longer than any look-up takes.
const farAway = time.Hour

// isMember reports whether the node that answered is a living member.
func (n *Node) isMember(h api.Hello) bool {
	m, ok := n.members()[h.Node]
	return ok && m.ID == h.ID && m.Status.Up()
}

// errWaits means that the peer belongs to no cluster itself yet.
var errWaits = errors.New("it waits for a cluster itself")

// joinBy greets the server at addr and joins it, unless each is a living member to the other: then member is true. A server that has moved is no
// member to others until its old address has failed, and nothing but an exchange of state tells them that it is there.
func (n *Node) joinBy(ctx context.Context, addr string) (member bool, err error) {
	h, err := n.greetPeer(ctx, addr)
	if err != nil {
		return false, err
	}
	if h.ID == n.who.ID {
		return true, nil
	}
	mine := n.hello()
	switch {
	case n.gaveUp(h.ID):
		return false, fmt.Errorf("%s (%s) was given up by meshnode recover, and is about to end", h.Node, h.ID)
	case h.Protocol != mine.Protocol:
		return false, otherProtocol(h, mine)
	case h.Cluster == "":
		return false, errWaits
	case mine.Cluster == h.Cluster && n.isMember(h) && !h.Unseen:
		return true, nil
	case mine.Cluster == "" || mine.Cluster == h.Cluster:
		_, err := n.mesh.Join(ctx, []string{addr})
		return false, err
	case yields(mine, h):
		n.end(&yieldError{cluster: h.Cluster, addr: addr})
		return false, nil
	case yields(h, mine):
		return false, fmt.Errorf("%s has founded an empty cluster of its own and is about to give it up", h.Node)
	}
	return false, otherCluster(mine, h)
}

func otherCluster(mine, theirs api.Hello) error {
	return api.Errorf(api.CodeConflict, "to merge, stop one of them, empty its data folder and start it again",
		"%s belongs to another cluster (%s) than this server (%s), under the same key", theirs.Node, theirs.Cluster, mine.Cluster)
}

// final reports whether trying again cannot help a server that is new.
func final(err error) bool {
	return errors.Is(err, mux.ErrWrongKey) || errors.Is(err, mux.ErrPeerInsecure) || errors.Is(err, mux.ErrPeerSecure) ||
		api.CodeOf(err) == api.CodeConflict || api.CodeOf(err) == api.CodeInvalid
}

// explain adds the remedy to errors of the peer port.
func explain(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, mux.ErrWrongKey):
		return fmt.Errorf("%w than this server; copy cluster.key from it", mux.ErrWrongKey)
	case errors.Is(err, mux.ErrPeerInsecure):
		return mux.ErrPeerInsecure
	case errors.Is(err, mux.ErrPeerSecure):
		return mux.ErrPeerSecure
	case errors.As(err, &op) && op.Err != nil:
		return op.Err
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer")
	}
	return err
}

// reminder keeps a repeated complaint to one line in a while.
type reminder struct {
	said map[string]string
	when map[string]time.Time
}

func (r *reminder) due(key, text string) bool {
	if r.said == nil {
		r.said, r.when = make(map[string]string), make(map[string]time.Time)
	}
	if r.said[key] == text && time.Since(r.when[key]) < remindTime {
		return false
	}
	r.said[key], r.when[key] = text, time.Now()
	return true
}
