package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"meshnode/e2e/lab"
	"meshnode/mesh/mux"
	"meshnode/node/api"
)

// impostor plays a peer, from the client's place, with a certificate that the cluster key has signed.
type impostor struct {
	l    *lab.Lab
	mux  *mux.Mux
	raft *raft.NetworkTransport
	shut chan struct{}
}

// play returns somebody who has the key and says that he is who.
func play(t *testing.T, l *lab.Lab, who mux.Identity) *impostor {
	t.Helper()
	key, err := mux.ParseKey(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mux.Open(mux.Options{Bind: "127.0.0.1:0", Key: &key, Self: who})
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{l: l, mux: m, shut: make(chan struct{})}
	i.raft = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: i, Timeout: 2 * time.Second, Logger: hclog.NewNullLogger()})
	t.Cleanup(func() {
		_ = i.raft.Close()
		_ = m.Close()
	})
	return i
}

func (i *impostor) open(p mux.Protocol, addr string) (c net.Conn, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = i.l.Inside(func() (err error) {
		c, err = i.mux.Dial(ctx, p, addr)
		return err
	})
	return c, err
}

// Dial implements raft.StreamLayer.
func (i *impostor) Dial(addr raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	return i.open(mux.Raft, string(addr))
}

// Accept implements net.Listener.
func (i *impostor) Accept() (net.Conn, error) { <-i.shut; return nil, net.ErrClosed }

// Close implements net.Listener.
func (i *impostor) Close() error { close(i.shut); return nil }

// Addr implements net.Listener.
func (i *impostor) Addr() net.Addr { return &net.TCPAddr{} }

// commands has a server told, in somebody's name, what would depose its leader, give it another log, or begin an election. It returns what it answered.
func (i *impostor) commands(to *lab.Node, as string) map[string]error {
	const far = 1 << 40
	addr := raft.ServerAddress(to.IP + ":7946")
	head := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(as), Addr: []byte(addr)}
	said := make(map[string]error)
	said["AppendEntries"] = i.raft.AppendEntries("", addr, &raft.AppendEntriesRequest{RPCHeader: head, Term: far, PrevLogEntry: 1, Entries: []*raft.Log{{Index: far, Term: far, Data: []byte("x")}}}, &raft.AppendEntriesResponse{})
	said["a heartbeat"] = i.raft.AppendEntries("", addr, &raft.AppendEntriesRequest{RPCHeader: head, Term: far}, &raft.AppendEntriesResponse{})
	said["RequestVote"] = i.raft.RequestVote("", addr, &raft.RequestVoteRequest{RPCHeader: head, Term: far, LastLogIndex: far, LastLogTerm: far, LeadershipTransfer: true}, &raft.RequestVoteResponse{})
	said["InstallSnapshot"] = i.raft.InstallSnapshot("", addr, &raft.InstallSnapshotRequest{RPCHeader: head, SnapshotVersion: 1, Term: far, LastLogIndex: far, LastLogTerm: far, Size: 5},
		&raft.InstallSnapshotResponse{}, strings.NewReader("wrong"))
	said["TimeoutNow"] = i.raft.TimeoutNow("", addr, &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
	return said
}

// servers is what each node knows as a server of the configuration: who leads, term, log.
func (i *impostor) servers(t *testing.T, nodes []*lab.Node) []api.ServerState {
	t.Helper()
	var out []api.ServerState
	for _, n := range nodes {
		s, err := api.NewClient(func(context.Context) (net.Conn, error) { return i.open(mux.API, n.IP+":7946") }).LocalStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *s.Server)
	}
	return out
}

func idOf(t *testing.T, n *lab.Node) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	var who struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(raw, &who); err != nil || who.ID == "" {
		t.Fatalf("%s: %v", raw, err)
	}
	return who.ID
}

// TestHostileRaft has peers say what raft would obey: one without a certificate, one with an operator's, one that is no member, a member that speaks
// for another one, one that asks for an election that only the leader may ask for, and one that was expelled.
func TestHostileRaft(t *testing.T) {
	onlyFull(t)
	l := lab.New(t, 4)
	nodes := l.Cluster()
	expelled := idOf(t, nodes[3])
	nodes[3].Kill()
	nodes = nodes[:3]
	memberStatus(t, nodes[0], "h4", "failed", 6*time.Second)
	nodes[0].Must("force-leave", "h4")
	leader, others := leads(t, nodes)
	nodes[0].Voters(20*time.Second, 3, 3)
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = idOf(t, n)
	}
	member := play(t, l, mux.Identity{ID: idOf(t, others[0]), Name: others[0].Name, Role: mux.RoleServer})
	before, states := state(t, nodes), member.servers(t, nodes)

	asked, refused := 0, 0
	try := func(who string, p *impostor, to *lab.Node, as string) {
		for what, err := range p.commands(to, as) {
			asked++
			if err == nil {
				t.Errorf("%s: %s was obeyed by %s", who, what, to.Name)
			} else {
				refused++
			}
		}
	}
	noise(t, l, nodes) // among it streams for raft without a certificate
	for _, to := range nodes {
		for _, role := range []string{mux.RoleAdmin, mux.RoleViewer, "worker"} {
			try("a certificate of another role", play(t, l, mux.Identity{ID: ids[0], Name: "h1", Role: role}), to, ids[0])
		}
		try("no member", play(t, l, mux.Identity{ID: "x-1", Name: "x", Role: mux.RoleServer}), to, "x-1")
		try("one that was expelled", play(t, l, mux.Identity{ID: expelled, Name: "h4", Role: mux.RoleServer}), to, expelled)
	}
	outside := asked
	verdict := func() string {
		time.Sleep(3 * time.Second) // in which an election would be over
		after, now := state(t, nodes), member.servers(t, nodes)
		if after != before || !slices.Equal(now, states) {
			t.Errorf("before:\n%s\n%+v\nafter:\n%s\n%+v", before, states, after, now)
		}
		return fmt.Sprintf("term %d, leader %s and the log's end are the same on all three", now[0].Term, leader.Name)
	}
	measured(t, 36, "%d commands (AppendEntries and heartbeats of term 2^40, RequestVote, InstallSnapshot, TimeoutNow) with certificates of the roles admin, viewer and worker, of no member, of an expelled server, and streams without a certificate: %d refused; %s",
		outside, refused, verdict())

	for i, to := range nodes {
		for _, as := range append(slices.Delete(slices.Clone(ids), i, i+1), expelled, "x-1", "") { // its own name among them
			try("a member in the name of "+as, member, to, as)
		}
	}
	end := verdict()
	said := ""
	for _, n := range nodes {
		if n.Logged("refused a message of a peer", time.Time{}) != (time.Time{}) {
			said += " " + n.Name
		}
	}
	measured(t, 37, "%d commands with the certificate of a member that does not lead, in the name of others (identity of the message and of the certificate differ) and in its own (terms of 2^40, a snapshot that would end the process, an election that only the leader may ask for): %d refused, logged by%s; %s", asked-outside, refused-outside, said, end)
}
