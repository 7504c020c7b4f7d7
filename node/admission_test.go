package node

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/node/telemetry"
	"meshnode/store/spec"
)

// part is what of a node lets others in: its peer port, its desk and what answers peers.
func part(t *testing.T, name string, key *mux.Key) *Node {
	t.Helper()
	tele, err := telemetry.NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{log: hclog.NewNullLogger(), tele: tele, dir: openTestFolder(t), s: config.Settings{Node: name}}
	n.who = self{identity: identity{ID: name + "-1"}}
	if key != nil {
		if n.keys, err = openKeyring(n.dir, *key); err != nil {
			t.Fatal(err)
		}
	}
	n.mux, err = mux.Open(mux.Options{Bind: "127.0.0.1:0", Key: key, Self: mux.Identity{ID: n.who.ID, Name: name, Role: mux.RoleServer}})
	if err != nil {
		t.Fatal(err)
	}
	n.who.addr = n.mux.Addr().String()
	t.Cleanup(func() {
		n.close()
		n.mux.Close()
	})
	return n
}

func testKey(t *testing.T) *mux.Key {
	t.Helper()
	k, err := mux.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &k
}

// newcomer asks a node for admission and returns the codes that it shows, and what comes of it.
func newcomer(t *testing.T, addr string) (dir *folder, codes <-chan string, end func() (*mux.Key, error)) {
	t.Helper()
	r, w := io.Pipe()
	n := &Node{log: hclog.NewNullLogger(), dir: openTestFolder(t), s: config.Settings{Node: "new"}, o: RunOptions{Out: w}}
	n.who.ID = "new-1"
	shown := make(chan string, 16)
	var wait sync.WaitGroup
	wait.Go(func() {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			if _, code, ok := strings.Cut(lines.Text(), "meshnode admit "); ok {
				shown <- code
			}
		}
	})
	var key *mux.Key
	var err error
	ctx, cancel := context.WithCancel(t.Context())
	wait.Go(func() {
		a := &applicant{n: n}
		for key == nil && err == nil {
			key, err = a.ask(ctx, addr)
		}
		w.Close()
	})
	t.Cleanup(func() {
		cancel()
		wait.Wait()
	})
	return n.dir, shown, func() (*mux.Key, error) {
		wait.Wait()
		return key, err
	}
}

func TestAdmission(t *testing.T) {
	key := testKey(t)
	n := founder(t, key)
	dir, codes, end := newcomer(t, n.who.addr)
	code := <-codes
	b := admissionsBackend{n}
	if list, err := b.Admissions(t.Context()); err != nil || len(list) != 1 || list[0].Node != "new" || list[0].ID != "new-1" || list[0].Via != "seed" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := b.Admit(t.Context(), "ABCDE"); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("half a code: %v", err)
	}
	if _, err := b.Admit(t.Context(), flip(code, 0)); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("another code: %v", err)
	}
	if _, err := b.Admit(t.Context(), flip(code, len(code)-1)); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("another end of the code: %v", err)
	}
	again := <-codes
	if again == code {
		t.Error("the code that was mistyped is shown again")
	}
	got, err := b.Admit(t.Context(), strings.ToLower(again))
	if err != nil || got.Node != "new" {
		t.Fatalf("%+v, %v", got, err)
	}
	if tr := trusted(n.store.State(), "new-1", nil); tr == nil || tr.By != spec.TrustedByCode {
		t.Errorf("%+v", tr)
	}
	if k, err := end(); err != nil || *k != *key {
		t.Errorf("%v", err)
	}
	if stored, err := readKey(dir.join(keyFile)); err != nil || *stored != *key {
		t.Error(err)
	}
	if fi, err := os.Stat(dir.join(keyFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// flip changes one letter of a code.
func flip(code string, at int) string {
	other := "A"
	if code[at] == 'A' {
		other = "B"
	}
	return code[:at] + other + code[at+1:]
}

func TestWrongCodesArePaused(t *testing.T) {
	n := part(t, "seed", testKey(t))
	if err := n.openDesk(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, codes, _ := newcomer(t, n.who.addr)
	code := <-codes
	b := admissionsBackend{n}
	for range 5 {
		if _, err := b.Admit(t.Context(), flip(code, 0)); api.CodeOf(err) != api.CodeNotFound {
			t.Fatal(err)
		}
	}
	if _, err := b.Admit(t.Context(), code); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("the right code after five wrong ones: %v", err)
	}
}

// TestNobodyToAsk is a server that has lost its key, and is started without an address or with its own alone.
func TestNobodyToAsk(t *testing.T) {
	for _, join := range [][]string{nil, {"127.0.0.1:7946"}} {
		n := &Node{log: hclog.NewNullLogger(), dir: openTestFolder(t), s: config.Settings{Node: "a", Bind: "127.0.0.1:7946"}}
		n.who.join = join
		if _, err := n.askAdmission(t.Context()); err == nil || !strings.Contains(err.Error(), "-join") || !strings.Contains(err.Error(), n.dir.join(keyFile)) {
			t.Errorf("%v: %v", join, err)
		}
	}
}

func TestNoKeyToGive(t *testing.T) {
	n := part(t, "seed", nil)
	if err := n.openDesk(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := (admissionsBackend{n}).Admit(t.Context(), "ABCD-EFGH-JKLM"); api.CodeOf(err) != api.CodeInvalid {
		t.Error(err)
	}
	_, _, end := newcomer(t, n.who.addr)
	if _, err := end(); !errors.Is(err, mux.ErrPeerInsecure) {
		t.Error(err)
	}
}

// TestFalseName has a server that holds the key greet under the name and the identity of another.
func TestFalseName(t *testing.T) {
	key := testKey(t)
	n, peer := part(t, "seed", key), part(t, "peer", key)
	srv := api.NewServer(api.Options{Peer: peerBackend{n}, Access: api.Access{Caller: callerVia(api.ViaPeer)}})
	var wait sync.WaitGroup
	wait.Go(func() { _ = srv.Serve(n.mux.Listen(mux.API)) })
	defer wait.Wait()
	defer srv.Close()
	c := api.NewClient(func(ctx context.Context) (net.Conn, error) { return peer.mux.Dial(ctx, mux.API, n.who.addr) })
	defer c.Close()
	for from, want := range map[api.Hello]string{
		{Node: "peer", ID: "peer-1"}:  "",
		{Node: "other", ID: "peer-1"}: api.CodeInvalid,
		{Node: "peer", ID: "other-1"}: api.CodeInvalid,
		{Node: "seed", ID: "seed-1"}:  api.CodeInvalid,
	} {
		from.Protocol = protocol
		if _, err := c.Hello(t.Context(), from); api.CodeOf(err) != want {
			t.Errorf("%+v: %v", from, err)
		}
	}
}

// TestRaftStreamsAreTheCertificates asks what the raft streams of peers are let in by.
func TestRaftStreamsAreTheCertificates(t *testing.T) {
	key := testKey(t)
	n, peer, stranger := part(t, "seed", key), part(t, "peer", key), part(t, "stranger", key)
	g := &guarded{Listener: n.mux.Listen(mux.Raft), ready: make(chan struct{}), allow: func(who mux.Identity) bool { return who.ID == "peer-1" }}
	defer g.Close()
	g.open()
	for _, from := range []*Node{stranger, peer} {
		c, err := from.mux.Dial(t.Context(), mux.Raft, n.who.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := g.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if who, _ := mux.PeerOf(c); who.ID != "peer-1" {
		t.Errorf("the stream of %s was let in", who.ID)
	}
}
