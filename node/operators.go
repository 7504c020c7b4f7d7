package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// openOperators answers operators who come from elsewhere, with a certificate. Without a cluster key there are none: a certificate would mean nothing.
func (n *Node) openOperators(ctx context.Context) error {
	if n.keys == nil {
		return nil
	}
	l := n.mux.Listen(mux.Operator)
	srv := api.NewServer(n.control(ctx, callerVia(api.ViaRemote)))
	n.closeLater("operators", srv.Close)
	n.life.wg.Go(func() {
		if err := srv.Serve(l); err != nil && ctx.Err() == nil {
			n.end(fmt.Errorf("answer the operators: %w", err))
		}
	})
	return nil
}

// callerVia tells who is at the other end of a stream of the peer port.
func callerVia(via string) func(net.Conn) api.Caller {
	return func(c net.Conn) api.Caller {
		who, ok := mux.PeerOf(c)
		if !ok {
			return api.Caller{UID: -1}
		}
		return api.Caller{Via: via, UID: -1, Certificate: who.Name, Role: who.Role, Serial: who.ID, From: c.RemoteAddr().String()}
	}
}

// operatorsBackend knows who may come from elsewhere.
type operatorsBackend struct{ n *Node }

// Known implements api.Operators. The configuration says who counts, as far as this node has it: one that is cut off goes by its last one, and by the
// certificate's own end.
func (b operatorsBackend) Known(_ context.Context, c api.Caller) error {
	o, ok := b.n.store.State().Operators[c.Certificate]
	switch {
	case !ok || o.Serial != c.Serial || o.Role != c.Role:
		return api.Errorf(api.CodeForbidden, "have another made on one of the servers: meshnode operator create "+c.Certificate, "the certificate of %s was revoked", c.Certificate)
	case time.Now().Unix() >= o.Expires:
		return api.Errorf(api.CodeForbidden, "have another made on one of the servers: meshnode operator create "+c.Certificate, "the certificate of %s has expired", c.Certificate)
	}
	return nil
}

// Operators implements api.Operators.
func (b operatorsBackend) Operators(context.Context) ([]api.Operator, error) {
	var out []api.Operator
	for name, o := range b.n.store.State().Operators {
		if time.Now().Unix() < o.Expires {
			out = append(out, operatorOf(name, o))
		}
	}
	slices.SortFunc(out, func(x, y api.Operator) int { return cmp.Compare(x.Name, y.Name) })
	return out, nil
}

func operatorOf(name string, o spec.Operator) api.Operator {
	return api.Operator{Name: name, Role: o.Role, Serial: o.Serial, Created: time.Unix(o.Created, 0).UTC(), Expires: time.Unix(o.Expires, 0).UTC()}
}

// Create implements api.Operators.
func (b operatorsBackend) Create(ctx context.Context, r api.OperatorRequest) (api.Operator, error) {
	if b.n.keys == nil {
		return api.Operator{}, api.Errorf(api.CodeInvalid, "use the control socket of a server, over ssh for example", "there are no certificates without a cluster key, and this node runs with -insecure")
	}
	if !(r.TTL >= 1 && r.TTL <= spec.MaxOperatorSeconds) {
		return api.Operator{}, api.Errorf(api.CodeInvalid, "", "a certificate counts from 1 second to %d days", spec.MaxOperatorSeconds/86400)
	}
	now := time.Now()
	o := spec.Operator{Role: r.Role, Serial: "-", Created: now.Unix(), Expires: now.Unix() + int64(r.TTL)}
	if err := spec.ValidateOperator(r.Name, o); err != nil {
		return api.Operator{}, api.Errorf(api.CodeInvalid, "", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	key, ok := b.n.keys.settled()
	if !ok {
		return api.Operator{}, errRotating()
	}
	bundle, pass, err := key.NewPass(r.Name, r.Role, time.Duration(r.TTL)*time.Second, now)
	if err != nil {
		return api.Operator{}, err
	}
	o.Serial = pass.ID
	if _, err := b.n.propose(ctx, fsm.Command{Operator: &fsm.Operator{Name: r.Name, Operator: &o}}); err != nil {
		return api.Operator{}, err
	}
	made := operatorOf(r.Name, o)
	made.Bundle = string(bundle)
	return made, nil
}

// Revoke implements api.Operators.
func (b operatorsBackend) Revoke(ctx context.Context, name string) (api.Change, error) {
	if _, ok := b.n.store.State().Operators[name]; !ok {
		return api.Change{}, api.Errorf(api.CodeNotFound, "see: meshnode operator list", "there is no operator %q", name)
	}
	index, err := b.n.propose(ctx, fsm.Command{Operator: &fsm.Operator{Name: name}})
	return api.Change{Index: index}, err
}

var _ api.Operators = operatorsBackend{}

// DialOperator returns what opens streams to the server at addr, "host:port", with an operator's certificate as Create gave it. It fails where that
// is none, or has expired.
func DialOperator(bundle []byte, addr string) (func(ctx context.Context) (net.Conn, error), error) {
	pass, err := mux.ParsePass(bundle)
	switch {
	case err != nil:
		return nil, err
	case time.Now().After(pass.Expires):
		return nil, fmt.Errorf("the certificate of %s has expired on %s; have another made on one of the servers: meshnode operator create %s",
			pass.Name, pass.Expires.UTC().Format(time.DateTime+" UTC"), pass.Name)
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := pass.Dial(ctx, addr)
		if errors.Is(err, mux.ErrWrongKey) {
			return nil, fmt.Errorf("the certificate of %s is of another cluster, or of before its key was replaced; have another made there: meshnode operator create %s", pass.Name, pass.Name)
		}
		return c, err
	}, nil
}
