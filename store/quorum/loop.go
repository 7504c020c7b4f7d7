package quorum

import (
	"context"
	"slices"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
)

// every is the pause between rounds in which nothing woke the loop.
const every = 500 * time.Millisecond

// maxChanges bounds the changes of one round; the rest waits for the next.
const maxChanges = 16

// Raft is what a Loop needs of the leader. Every method fails when this server does not lead.
type Raft interface {
	// Servers returns the configuration.
	Servers() []Server
	// AddServer adds a server, or changes the address or the vote of one that is there. It never takes a vote.
	AddServer(ctx context.Context, s Server) error
	// DemoteVoter takes a vote.
	DemoteVoter(ctx context.Context, id string) error
	// RemoveServer takes a server out.
	RemoveServer(ctx context.Context, id string) error
	// TransferLeadership gives the leadership to another voter.
	TransferLeadership() error
}

// Loop keeps the configuration in step with the members while this server leads.
type Loop struct {
	// Raft carries the changes out.
	Raft Raft
	// LeaderID is this server.
	LeaderID string
	// Members returns what gossip knows at the moment. It must not block.
	Members func() []Member
	// Wake, which may be nil, starts a round at once when it delivers.
	Wake <-chan struct{}
	// Policy holds the limits.
	Policy Policy
	// Logger gets every change and every failure. Required.
	Logger hclog.Logger
	// Metrics, which may be nil, counts changes and failures.
	Metrics *metrics.Metrics
}

// Run makes rounds until ctx ends. It blocks; it is to be run under a context that ends with the leadership.
func (l *Loop) Run(ctx context.Context) {
	unseen := make(map[string]time.Time)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		l.round(ctx, unseen)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-l.Wake:
		}
	}
}

// round plans and applies until there is nothing to do or something fails.
func (l *Loop) round(ctx context.Context, unseen map[string]time.Time) {
	for range maxChanges {
		if ctx.Err() != nil {
			return
		}
		changes := Plan(l.gather(unseen))
		if len(changes) == 0 {
			return
		}
		for _, c := range changes {
			if err := l.apply(ctx, c); err != nil {
				l.count(metricFailed)
				l.Logger.Warn("cannot change the servers", "what", c.Op, "peer", c.Server.ID, "addr", c.Server.Addr, "err", err)
				return
			}
			l.count(metricChanges)
			l.Logger.Info("servers changed", "what", c.Op, "peer", c.Server.ID, "addr", c.Server.Addr, "reason", c.Reason)
			if c.Op == OpTransfer {
				return
			}
		}
	}
}

// gather makes the picture. A server that gossip does not know counts as dead from when this loop first missed it: a
// member may be forgotten, or this node may have started after it died.
func (l *Loop) gather(unseen map[string]time.Time) Inputs {
	in := Inputs{Now: time.Now(), Servers: l.Raft.Servers(), Members: slices.Clone(l.Members()), LeaderID: l.LeaderID, Policy: l.Policy}
	seen := make(map[string]bool, len(in.Members))
	for _, m := range in.Members {
		seen[m.ID] = true
	}
	missing := make(map[string]bool)
	for _, s := range in.Servers {
		if seen[s.ID] || s.ID == l.LeaderID {
			continue
		}
		missing[s.ID] = true
		if _, known := unseen[s.ID]; !known {
			unseen[s.ID] = in.Now
		}
		in.Members = append(in.Members, Member{ID: s.ID, Addr: s.Addr, Since: unseen[s.ID]})
	}
	for id := range unseen {
		if !missing[id] {
			delete(unseen, id)
		}
	}
	return in
}

func (l *Loop) apply(ctx context.Context, c Change) error {
	switch c.Op {
	case OpDemote:
		return l.Raft.DemoteVoter(ctx, c.Server.ID)
	case OpRemove:
		return l.Raft.RemoveServer(ctx, c.Server.ID)
	case OpTransfer:
		return l.Raft.TransferLeadership()
	default:
		return l.Raft.AddServer(ctx, c.Server)
	}
}
