package node

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"meshnode/mesh/admit"
	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/store/spec"
)

// admitLimit is how long letting a server in may take, over all nodes that are asked.
const admitLimit = 8 * time.Second

// doorkeeper lets servers in that have no cluster key.
type doorkeeper struct {
	desk     *admit.Desk
	tries    admit.Tries   // of codes that were typed here
	guesses  admit.TriesBy // of tokens, by where they come from
	rotating sync.Mutex    // held while this node replaces the cluster key
}

// openDesk hears servers without a key on the peer port. Without a key there is none to be given.
func (n *Node) openDesk(ctx context.Context) error {
	n.door.desk = admit.NewDesk(n.keyText, n.redeem)
	if n.keys == nil {
		return nil
	}
	l := n.mux.Listen(mux.Admit)
	n.closeLater("admissions", l.Close)
	n.life.wg.Go(func() { n.door.desk.Serve(ctx, l) })
	return nil
}

// keyText is the key that this node signs with.
func (n *Node) keyText() string {
	use, _ := n.keys.keys()
	return use.String()
}

func errRotating() *api.Error {
	return api.Errorf(api.CodeConflict, "try again; if that lasts, finish it with: meshnode key rotate", "the cluster key is being replaced")
}

// admissionsBackend answers the verb admit, and peers who pass it on.
type admissionsBackend struct{ n *Node }

// LocalAdmissions implements api.Admissions.
func (b admissionsBackend) LocalAdmissions(context.Context) ([]api.Admission, error) {
	var out []api.Admission
	for _, w := range b.n.door.desk.Waiting() {
		out = append(out, b.n.admission(w))
	}
	return out, nil
}

func (n *Node) admission(w admit.Waiting) api.Admission {
	return api.Admission{Node: w.Name, ID: w.ID, Addr: w.Addr.String(), Version: w.Release, Since: w.Since.UTC(), Via: n.s.Node}
}

// Admissions implements api.Admissions.
func (b admissionsBackend) Admissions(ctx context.Context) ([]api.Admission, error) {
	out, _ := b.LocalAdmissions(ctx)
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	b.n.askPeers(func(node string, c *api.Client) {
		list, err := c.LocalAdmissions(ctx)
		if err != nil {
			b.n.log.Debug("a member did not say who waits there", "peer", node, "err", err)
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, list...)
	})
	slices.SortFunc(out, func(a, b api.Admission) int { return a.Since.Compare(b.Since) })
	return out, nil
}

// askPeers calls ask for every living member but this node, all at once, and waits for them.
func (n *Node) askPeers(ask func(node string, c *api.Client)) {
	var wait sync.WaitGroup
	for name, m := range n.members() {
		if name == n.s.Node || !m.Status.Up() {
			continue
		}
		wait.Go(func() { ask(name, n.view.clients.get(n.mux, name, m.Addr)) })
	}
	wait.Wait()
}

// LocalAdmit implements api.Admissions.
func (b admissionsBackend) LocalAdmit(ctx context.Context, o api.AdmitOrder) (api.Admission, error) {
	code, err := admit.ParseCode(o.Code)
	if err != nil {
		return api.Admission{}, api.Errorf(api.CodeInvalid, "copy it from the screen of the server that waits", "%v", err)
	}
	if b.n.keys != nil {
		if _, ok := b.n.keys.settled(); !ok {
			return api.Admission{}, errRotating()
		}
	}
	w, err := b.n.door.desk.Admit(ctx, code)
	switch {
	case errors.Is(err, admit.ErrUnknownCode):
		return api.Admission{}, api.Errorf(api.CodeNotFound, "", "%v", err)
	case errors.Is(err, admit.ErrMistyped):
		b.n.log.Warn("a server was not admitted: the end of its code was typed wrong", "peer", w.Name, "addr", w.Addr, "what", o.By)
		return api.Admission{}, api.Errorf(api.CodeInvalid, "it shows another one now: type that", "the last six letters of the code are not what %s shows", w.Name)
	case err != nil:
		b.n.log.Warn("a server was not admitted", "peer", w.Name, "addr", w.Addr, "what", o.By, "err", err)
		return api.Admission{}, api.Errorf(api.CodeFailed, "look at what it says itself; it asks again by itself", "%s was not admitted: %v", w.Name, err)
	}
	b.n.log.Info("admitted a server: it was given the cluster key", "peer", w.Name, "addr", w.Addr, "version", w.Release, "what", "asked for on "+o.By)
	b.n.remember(ctx, w.ID, spec.TrustedByCode)
	return b.n.admission(w), nil
}

// admitAnswer is what a node says to a code.
type admitAnswer struct {
	node string
	got  api.Admission
	err  error
}

// Admit implements api.Admissions. A wrong code is one that no node knows: those count, where they are typed.
func (b admissionsBackend) Admit(ctx context.Context, text string) (api.Admission, error) {
	n := b.n
	code, err := admit.ParseCode(text)
	switch {
	case err != nil:
		return api.Admission{}, api.Errorf(api.CodeInvalid, "copy it from the screen of the server that waits", "%q is no code: %v", text, err)
	case n.keys == nil:
		return api.Admission{}, api.Errorf(api.CodeInvalid, "start the new server with -insecure too", "this cluster runs with -insecure and has no key to give")
	case !n.door.tries.Allowed(time.Now()):
		return api.Admission{}, api.Errorf(api.CodeUnavailable, "wait a minute; see who waits with: meshnode admit", "too many wrong codes were typed on this server")
	}
	ctx, cancel := context.WithTimeout(ctx, admitLimit)
	defer cancel()
	answers := n.admitAnywhere(ctx, api.AdmitOrder{Code: code.String(), By: n.s.Node})
	var silent []string
	var refused error
	for _, a := range answers {
		switch c := api.CodeOf(a.err); {
		case a.err == nil:
			return a.got, nil
		case c == api.CodeNotFound: // no route to it either: that node is of an older release, and nobody waits there
		case c == "":
			silent = append(silent, a.node)
		default:
			refused = a.err
		}
	}
	if refused != nil {
		return api.Admission{}, refused
	}
	n.door.tries.Wrong(time.Now())
	n.count(metricWrongCodes)
	n.log.Warn("a code was typed that no server shows", "count", len(answers))
	what := "no server that waits shows the code " + code.String()
	if len(silent) > 0 {
		slices.Sort(silent)
		what += " (no answer from " + strings.Join(silent, ", ") + ")"
	}
	return api.Admission{}, api.Errorf(api.CodeNotFound, "see who waits with: meshnode admit; the code is on the screen of that server", "%s", what)
}

// admitAnywhere asks this node and every living member. When one has let the server in the others are not waited for.
func (n *Node) admitAnywhere(ctx context.Context, o api.AdmitOrder) []admitAnswer {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var out []admitAnswer
	add := func(a admitAnswer) {
		mu.Lock()
		defer mu.Unlock()
		if out = append(out, a); a.err == nil {
			cancel()
		}
	}
	var here sync.WaitGroup
	here.Go(func() {
		got, err := admissionsBackend{n}.LocalAdmit(ctx, o)
		add(admitAnswer{n.s.Node, got, err})
	})
	n.askPeers(func(node string, c *api.Client) {
		got, err := c.LocalAdmit(ctx, o)
		add(admitAnswer{node, got, err})
	})
	here.Wait()
	return out
}

// sameCaller refuses a node that says it is another than its certificate says.
func (n *Node) sameCaller(ctx context.Context, from api.Hello) error {
	who := api.CallerOf(ctx)
	if who.Via == "" || who.Certificate == from.Node && who.Serial == from.ID {
		return nil
	}
	n.count(metricFalseNames)
	n.log.Warn("a peer claims to be another", "peer", who.Certificate, "what", from.Node)
	return api.Errorf(api.CodeInvalid, "", "the stream is of %s (%s), and not of %s (%s)", who.Certificate, who.Serial, from.Node, from.ID)
}

var _ api.Admissions = admissionsBackend{}
