package node

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/mesh/admit"
	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// founder is a part that leads a cluster of its own, and hears those who ask.
func founder(t *testing.T, key *mux.Key) *Node {
	t.Helper()
	n := part(t, "seed", key)
	n.who.founder = true
	if err := n.openStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.openDesk(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for c := range n.store.Watch(ctx) {
		if c.ID != "" {
			return n
		}
	}
	t.Fatal("no cluster was founded")
	return nil
}

// redeemer asks a node with a token.
func redeemer(t *testing.T, token string) *applicant {
	t.Helper()
	parsed, err := admit.ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{log: hclog.NewNullLogger(), dir: openTestFolder(t), s: config.Settings{Node: "new"}, o: RunOptions{Out: &strings.Builder{}}}
	n.who.ID = "new-1"
	return &applicant{n: n, token: &parsed}
}

func TestToken(t *testing.T) {
	key := testKey(t)
	n := founder(t, key)
	b := tokensBackend{n}
	for _, bad := range []api.TokenRequest{{}, {Seconds: 60}, {Seconds: -1, Uses: 1}, {Seconds: 60, Uses: 1 << 20}, {Seconds: 1 << 40, Uses: 1}} {
		if _, err := b.CreateToken(t.Context(), bad); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	made, err := b.CreateToken(t.Context(), api.TokenRequest{Seconds: 3600, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	got, err := redeemer(t, made.Text).ask(t.Context(), n.who.addr)
	if err != nil || got == nil || *got != *key {
		t.Fatalf("%v", err)
	}
	if tr := trusted(n.store.State(), "new-1", nil); tr == nil || tr.By != spec.TrustedByToken {
		t.Errorf("%+v", tr)
	}
	if _, err := redeemer(t, made.Text).ask(t.Context(), n.who.addr); err == nil || !strings.Contains(err.Error(), "has been used") {
		t.Errorf("a second use: %v", err)
	}
	expired := strings.Repeat("0", 64)
	n.tokenIs(t, expired, spec.Token{Made: 100, Expires: 200, Uses: 1})
	if why := n.tokenFault(t.Context(), expired, time.Now()); !strings.Contains(why, "has expired at 1970-01-01") {
		t.Error(why)
	}
	list, err := b.Tokens(t.Context())
	if err != nil || len(list) != 2 || !list[0].Expired || list[0].ID != expired[:8] || list[1].Uses != 0 || list[1].ID != made.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if err := b.RevokeToken(t.Context(), ""); api.CodeOf(err) != api.CodeNotFound {
		t.Error(err)
	}
	if err := b.RevokeToken(t.Context(), made.ID); err != nil {
		t.Error(err)
	}
	if _, err := redeemer(t, made.Text).ask(t.Context(), n.who.addr); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("after it was revoked: %v", err)
	}
}

func (n *Node) tokenIs(t *testing.T, hash string, token spec.Token) {
	t.Helper()
	if _, err := n.propose(t.Context(), fsm.Command{Token: &fsm.Token{Hash: hash, Make: &token, Time: token.Made}}); err != nil {
		t.Fatal(err)
	}
}

// TestTokenAtTheSameTime has two newcomers come with one token for one.
func TestTokenAtTheSameTime(t *testing.T) {
	key := testKey(t)
	n := founder(t, key)
	made, err := tokensBackend{n}.CreateToken(t.Context(), api.TokenRequest{Seconds: 3600, Uses: 1})
	if err != nil {
		t.Fatal(err)
	}
	var keys [2]*mux.Key
	var errs [2]error
	var wait sync.WaitGroup
	for i := range keys {
		a := redeemer(t, made.Text)
		wait.Go(func() { keys[i], errs[i] = a.ask(t.Context(), n.who.addr) })
	}
	wait.Wait()
	if (keys[0] == nil) == (keys[1] == nil) || (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("%v and %v were let in, %v, %v", keys[0] != nil, keys[1] != nil, errs[0], errs[1])
	}
}

// TestTokenOfAnotherCluster is not told to a server that is not of the token's cluster.
func TestTokenOfAnotherCluster(t *testing.T) {
	n, other := part(t, "seed", testKey(t)), testKey(t)
	if err := n.openDesk(t.Context()); err != nil {
		t.Fatal(err)
	}
	print, err := other.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	token, err := admit.NewToken(print)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := redeemer(t, token.String()).ask(t.Context(), n.who.addr); err == nil || !strings.Contains(err.Error(), "of another cluster") {
		t.Error(err)
	}
	if s := n.door.desk.Stats(); s.Places != 0 || s.Refused != 0 {
		t.Errorf("the desk was asked: %+v", s)
	}
}

func TestGivenToken(t *testing.T) {
	if token, err := givenToken(config.Settings{}); token != nil || err != nil {
		t.Errorf("%v, %v", token, err)
	}
	if _, err := givenToken(config.Settings{Token: "mt1-x"}); !errors.Is(err, admit.ErrToken) || !strings.Contains(err.Error(), "MESHNODE_TOKEN") {
		t.Error(err)
	}
	if _, err := givenToken(config.Settings{TokenFile: "/nowhere/token"}); err == nil || !strings.Contains(err.Error(), "-token-file /nowhere/token: no such file") {
		t.Error(err)
	}
}
