package store

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// layer is the stream layer of somebody who only asks.
type layer struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)
	shut chan struct{}
}

func (l layer) Accept() (net.Conn, error) { <-l.shut; return nil, net.ErrClosed }
func (l layer) Close() error              { close(l.shut); return nil }
func (l layer) Addr() net.Addr            { return streamAddr("nowhere") }
func (l layer) Dial(to raft.ServerAddress, limit time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return l.dial(ctx, string(to))
}

// TestMessagesInTheNameOfAnother has a server of the cluster say what raft would obey, in its own name and in that of another one.
func TestMessagesInTheNameOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		before := c.stores["s1"].Status()
		liar := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Timeout: time.Second, Logger: hclog.NewNullLogger(),
			Stream: layer{dial: c.net.dialer(addrOf("s3")), shut: make(chan struct{})}})
		const far = 1 << 40
		say := func(as string) map[string]error {
			head := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(as), Addr: []byte(addrOf(as))}
			said := make(map[string]error)
			to := raft.ServerAddress(addrOf("s2"))
			said["append"] = liar.AppendEntries("s2", to, &raft.AppendEntriesRequest{RPCHeader: head, Term: far, PrevLogEntry: 1}, &raft.AppendEntriesResponse{})
			said["heartbeat"] = liar.AppendEntries("s2", to, &raft.AppendEntriesRequest{RPCHeader: head, Term: far}, &raft.AppendEntriesResponse{})
			said["vote"] = liar.RequestVote("s2", to, &raft.RequestVoteRequest{RPCHeader: head, Term: far, LastLogIndex: far, LastLogTerm: far, LeadershipTransfer: true}, &raft.RequestVoteResponse{})
			said["snapshot"] = liar.InstallSnapshot("s2", to, &raft.InstallSnapshotRequest{RPCHeader: head, SnapshotVersion: 1, Term: far, LastLogIndex: far, LastLogTerm: far, Size: 5},
				&raft.InstallSnapshotResponse{}, strings.NewReader("wrong"))
			said["timeout"] = liar.TimeoutNow("s2", to, &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
			return said
		}
		for what, err := range say("s1") {
			if err == nil || !strings.Contains(err.Error(), errFalseID.Error()) {
				t.Errorf("%s in the name of s1: %v", what, err)
			}
		}
		head := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("s3"), Addr: []byte(addrOf("s3"))}
		err := liar.TimeoutNow("s2", raft.ServerAddress(addrOf("s2")), &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
		if err == nil || !strings.Contains(err.Error(), errNotLeader.Error()) {
			t.Errorf("an election asked for by s3, which does not lead: %v", err)
		}
		for what, err := range say("s3") {
			if err == nil {
				t.Errorf("%s of a term that there cannot be, in its own name: obeyed", what)
			}
		}
		bad := &raft.AppendEntriesRequest{RPCHeader: head, Term: before.Term, Entries: []*raft.Log{{Type: raft.LogConfiguration, Data: []byte{0xc1}}}}
		if err := liar.AppendEntries("s2", raft.ServerAddress(addrOf("s2")), bad, &raft.AppendEntriesResponse{}); err == nil || !strings.Contains(err.Error(), errMalformed.Error()) {
			t.Errorf("a configuration that cannot be read: %v", err)
		}
		var vote raft.RequestPreVoteResponse
		if err := liar.RequestPreVote("s2", raft.ServerAddress(addrOf("s2")), &raft.RequestPreVoteRequest{RPCHeader: head, Term: before.Term + 1}, &vote); err != nil || vote.Granted {
			t.Errorf("what s3 may ask in its own name: %+v, %v", vote, err)
		}
		time.Sleep(5 * time.Second) // of the bubble: an election would be over
		for id, s := range c.stores {
			if now := s.Status(); now.Term != before.Term || now.LeaderID != before.LeaderID || now.AppliedIndex != before.AppliedIndex || now.Hash != before.Hash {
				t.Errorf("%s: %+v, before: %+v", id, now, before)
			}
		}
		if err := liar.Close(); err != nil {
			t.Error(err)
		}
	})
}
