package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"meshnode/mesh/admit"
	"meshnode/mesh/mux"
	"meshnode/node/config"
)

// askEvery is the pause between two requests for admission.
const askEvery = time.Second

// maxMisproved is how many times a server may answer that was not told the code, before this node gives up: each is a guess at six letters.
const maxMisproved = 5

var (
	errUnsignedKey = errors.New("the key that was received is not of the server that sent it")
	errMisproved   = errors.New("servers that were not told the code have answered five times: either it is mistyped on a server of the cluster, or somebody else answers at the join address; see to it and start this server again")
)

// askAdmission asks the join addresses for admission until a server of the cluster gives the key, which is stored at once: it is known to be
// right, and asking again would take a person. It is the keeper's to know that the node is up meanwhile, or a service manager would start it anew.
func (n *Node) askAdmission(ctx context.Context) (*mux.Key, error) {
	if !slices.ContainsFunc(n.who.join, func(addr string) bool { return !own(addr, n.s) }) {
		return nil, fmt.Errorf("no cluster key, and no -join address of another server to ask for it; give one, or copy %s from a server of the cluster to %s, or set MESHNODE_KEY or -key-file",
			keyFile, n.dir.join(keyFile))
	}
	token, err := givenToken(n.s)
	if err != nil {
		return nil, err
	}
	if token == nil {
		n.log.Info("no cluster key here; asking a server of the cluster for it, unless it is given with MESHNODE_KEY or -key-file, or a token with MESHNODE_TOKEN or -token-file")
	}
	if err := n.o.Keeper.Ready(); err != nil {
		return nil, fmt.Errorf("tell the keeper that the node waits: %w", err)
	}
	a := &applicant{n: n, token: token}
	for ctx.Err() == nil {
		for _, addr := range n.who.join {
			if own(addr, n.s) {
				continue
			}
			if key, err := a.ask(ctx, addr); key != nil || err != nil {
				return key, err
			}
		}
		t := time.NewTimer(askEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return nil, ctx.Err()
}

// givenToken is the join token that the operator named, nil if none.
func givenToken(s config.Settings) (*admit.Token, error) {
	text, where := s.Token, "MESHNODE_TOKEN"
	if s.TokenFile != "" {
		raw, err := os.ReadFile(s.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("-token-file %s: %w", s.TokenFile, bare(err))
		}
		text, where = string(raw), s.TokenFile
	}
	if text == "" {
		return nil, nil
	}
	t, err := admit.ParseToken(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return &t, nil
}

// applicant asks for admission at one address after the other.
type applicant struct {
	n         *Node
	token     *admit.Token // nil = it shows a code
	waiting   reminder
	misproved int
}

// ask returns the key, or the error that no further try can mend, or neither.
func (a *applicant) ask(ctx context.Context, addr string) (*mux.Key, error) {
	key, err := a.try(ctx, addr)
	var refusal *admit.Refusal
	switch {
	case err == nil:
		return key, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, admit.ErrWrongProof):
		if a.misproved++; a.misproved >= maxMisproved {
			return nil, errMisproved
		}
		a.n.log.Warn("not admitted", "addr", addr, "reason", admit.ErrWrongProof)
	case errors.Is(err, mux.ErrOtherAuthority):
		return nil, fmt.Errorf("the join token is of another cluster than the server at %s", addr)
	case errors.As(err, &refusal) && refusal.Final():
		return nil, fmt.Errorf("cannot be admitted by %s: %w", addr, refusal)
	case errors.Is(err, mux.ErrPeerInsecure), errors.Is(err, errUnsignedKey):
		return nil, fmt.Errorf("cannot be admitted by %s: %w", addr, explain(err))
	case a.waiting.due(addr, explain(err).Error()):
		a.n.log.Warn("waiting for a join address, to ask there for admission", "addr", addr, "reason", explain(err))
	}
	return nil, nil
}

// try asks one server, and waits there.
func (a *applicant) try(ctx context.Context, addr string) (*mux.Key, error) {
	dial, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	var cluster []byte
	if a.token != nil {
		cluster = a.token.Cluster()
	}
	s, err := mux.DialAdmit(dial, addr, cluster)
	if err != nil {
		return nil, err
	}
	var key mux.Key
	take := func(text string) (err error) {
		if key, err = mux.ParseKey(text); err != nil || !s.SignedBy(key) {
			return errUnsignedKey
		}
		return a.n.dir.writeKey(key)
	}
	who := admit.Newcomer{Name: a.n.s.Node, ID: a.n.who.ID, Release: a.n.o.Version}
	if a.token != nil {
		err = admit.Redeem(ctx, s, *a.token, who, take)
	} else {
		err = admit.Ask(ctx, s, who, func(code admit.Code) {
			fmt.Fprintf(a.n.o.Out, "waiting to be admitted; on a server of the cluster run: meshnode admit %s\n", code)
		}, take)
	}
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(a.n.o.Out, "admitted; the cluster key is kept in", a.n.dir.join(keyFile))
	return &key, nil
}
