package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"meshnode/mesh/admit"
	"meshnode/node/api"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// tokenLetters is how much of the hash of a token is shown as its ID.
const tokenLetters = 8

// tokenLag is how long a token that is not known here is waited for: it may have been made on another server a moment ago. A stranger's word alone never
// comes to the log.
const tokenLag = time.Second

// tokensBackend answers the verb token.
type tokensBackend struct{ n *Node }

// Tokens implements api.Tokens.
func (b tokensBackend) Tokens(context.Context) ([]api.Token, error) {
	var out []api.Token
	for hash, t := range b.n.store.State().Tokens {
		out = append(out, shownToken(hash, t))
	}
	slices.SortFunc(out, func(a, b api.Token) int { return cmp.Or(a.Expires.Compare(b.Expires), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

func shownToken(hash string, t spec.Token) api.Token {
	at := time.Unix(t.Expires, 0).UTC()
	return api.Token{ID: hash[:tokenLetters], Expires: at, Uses: t.Uses, Expired: !time.Now().Before(at)}
}

// CreateToken implements api.Tokens.
func (b tokensBackend) CreateToken(ctx context.Context, r api.TokenRequest) (api.NewToken, error) {
	n := b.n
	if n.keys == nil {
		return api.NewToken{}, api.Errorf(api.CodeInvalid, "servers join it with -insecure", "this cluster runs with -insecure and has no key to give")
	}
	if err := n.oneRelease(); err != nil {
		return api.NewToken{}, err
	}
	key, ok := n.keys.settled()
	if !ok {
		return api.NewToken{}, errRotating()
	}
	cluster, err := key.Fingerprint()
	if err != nil {
		return api.NewToken{}, err
	}
	t, err := admit.NewToken(cluster)
	if err != nil {
		return api.NewToken{}, err
	}
	now := time.Now().Unix()
	made := spec.Token{Made: now, Expires: now + r.Seconds, Uses: r.Uses}
	if err := made.Validate(); err != nil {
		return api.NewToken{}, api.Errorf(api.CodeInvalid, "", "no token: %v", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if _, err := n.propose(ctx, fsm.Command{Token: &fsm.Token{Hash: t.Hash(), Make: &made, Time: now}}); err != nil {
		return api.NewToken{}, err
	}
	n.log.Info("made a join token", "what", t.Hash()[:tokenLetters], "count", r.Uses)
	return api.NewToken{Token: shownToken(t.Hash(), made), Text: t.String(), Join: n.who.addr}, nil
}

// RevokeToken implements api.Tokens.
func (b tokensBackend) RevokeToken(ctx context.Context, id string) error {
	var found []string
	for hash := range b.n.store.State().Tokens {
		if strings.HasPrefix(hash, strings.ToLower(id)) && id != "" {
			found = append(found, hash)
		}
	}
	switch len(found) {
	case 0:
		return api.Errorf(api.CodeNotFound, "see: meshnode token list", "there is no token %q", id)
	case 1:
	default:
		return api.Errorf(api.CodeConflict, "give more of it", "%d tokens begin with %q", len(found), id)
	}
	_, err := b.n.propose(ctx, fsm.Command{Token: &fsm.Token{Hash: found[0], Drop: true, Time: time.Now().Unix()}})
	if api.CodeOf(err) == api.CodeNotFound {
		return nil // somebody else was quicker
	}
	if err == nil {
		b.n.log.Info("revoked a join token", "what", found[0][:tokenLetters])
	}
	return err
}

// redeem takes one use off a token, agreed on by the cluster before the key is given.
func (n *Node) redeem(ctx context.Context, secret []byte, w admit.Waiting) error {
	now := time.Now()
	if !n.door.guesses.Allowed(w.Addr, now) {
		return &admit.Refusal{Code: admit.RefusedBusy, Text: "too many wrong tokens came from this address; wait a minute"}
	}
	if _, ok := n.keys.settled(); !ok {
		return &admit.Refusal{Code: admit.RefusedBusy, Text: errRotating().Message}
	}
	hash := admit.HashSecret(secret)
	refuse := func(why string) error {
		n.door.guesses.Wrong(w.Addr, now)
		n.count(metricWrongTokens)
		n.log.Warn("a server was not admitted by its token", "peer", w.Name, "addr", w.Addr, "reason", why)
		return &admit.Refusal{Code: admit.RefusedOther, Text: why + "; make another on a server of the cluster: meshnode token create"}
	}
	if why := n.tokenFault(ctx, hash, now); why != "" {
		return refuse(why)
	}
	_, err := n.propose(ctx, fsm.Command{Token: &fsm.Token{Hash: hash, Use: true, For: w.ID, Time: now.Unix()}})
	switch api.CodeOf(err) {
	case api.CodeConflict, api.CodeNotFound:
		return refuse("the token was used, or has expired, in this very moment")
	}
	if err != nil {
		n.log.Warn("a token was not taken", "peer", w.Name, "addr", w.Addr, "err", err)
		return &admit.Refusal{Code: admit.RefusedBusy, Text: "the cluster cannot agree on the use of the token now"}
	}
	n.log.Info("admitted a server by a token: it is given the cluster key", "peer", w.Name, "addr", w.Addr, "version", w.Release, "what", hash[:tokenLetters])
	return nil
}

// tokenFault says why a token lets nobody in, "" if it does as far as is known here.
func (n *Node) tokenFault(ctx context.Context, hash string, now time.Time) string {
	ctx, cancel := context.WithTimeout(ctx, tokenLag)
	defer cancel()
	for c := range n.store.Watch(ctx) {
		if t, ok := c.Tokens[hash]; ok {
			return fault(t, now)
		}
	}
	return "the token is not known to the cluster: it was revoked, or has expired or been used more than a day ago"
}

func fault(t spec.Token, now time.Time) string {
	switch {
	case t.Uses < 1:
		return "the token has been used"
	case t.Expires <= now.Unix():
		return fmt.Sprintf("the token has expired at %s", time.Unix(t.Expires, 0).UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	return ""
}

// oneRelease refuses what an older release could not read in the configuration.
func (n *Node) oneRelease() error {
	for name, m := range n.members() {
		if m.Version != n.o.Version && m.Status != "left" {
			return api.Errorf(api.CodeConflict, "upgrade all servers first", "%s runs release %s, this server %s", name, m.Version, n.o.Version)
		}
	}
	return nil
}

// trustKept is how long a server that never came, or has left, is remembered as let in, in seconds.
const trustKept = 24 * 60 * 60

// revokeTokens forgets all tokens, which name a key that is no more.
func (n *Node) revokeTokens(ctx context.Context) {
	for hash := range n.store.State().Tokens {
		if _, err := n.propose(ctx, fsm.Command{Token: &fsm.Token{Hash: hash, Drop: true, Time: time.Now().Unix()}}); err != nil {
			n.log.Warn("a join token of the former cluster key is still listed", "what", hash[:tokenLetters], "err", err)
		}
	}
}

// remember notes how a server was let in, and forgets those that do not belong here any more. The server has the key by then, so failing here costs a
// line in a list.
func (n *Node) remember(ctx context.Context, id, by string) {
	now := time.Now().Unix()
	t := &fsm.Trust{Add: map[string]spec.Trusted{id: {Since: now, By: by}}}
	for old, trusted := range n.store.State().Trusted {
		if _, member := n.addrOfID(old); !member && !n.store.IsServer(old) && trusted.Since+trustKept < now {
			t.Drop = append(t.Drop, old)
		}
	}
	err := n.oneRelease()
	if err == nil {
		_, err = n.propose(ctx, fsm.Command{Trust: t})
	}
	if err != nil {
		n.log.Warn("it is not kept when a server was admitted", "peer", id, "err", err)
	}
}

// trusted says since when a server has had the key: as the configuration has it, else since it has had its identity, which came with its data folder.
func trusted(c *spec.Cluster, id string, self *api.Trusted) *api.Trusted {
	if t, ok := c.Trusted[id]; ok {
		return &api.Trusted{Since: time.Unix(t.Since, 0).UTC(), By: t.By}
	}
	return self
}

var _ api.Tokens = tokensBackend{}
