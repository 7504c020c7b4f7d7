package quorum

import "time"

// Server is one server of the Raft configuration.
type Server struct {
	// ID is the server's Raft identity.
	ID string
	// Addr is its peer address, "host:port".
	Addr string
	// Voter tells a voter from a non-voter.
	Voter bool
}

// Member is one node as gossip sees it.
type Member struct {
	// ID is the node's Raft identity; a member without one is ignored.
	ID string
	// Name is the node's name: two members of one name are the same place.
	Name string
	// Addr is its peer address, "host:port".
	Addr string
	// Zone is the failure zone it is in, "" being one as well: votes are spread over zones.
	Zone string
	// Alive is true for a member that answers. Left is true for one that said goodbye.
	Alive, Left bool
	// Behind is true for a member known to lack much of the log; it gets no vote until it has caught up.
	Behind bool
	// Since is when Alive or Left last changed.
	Since time.Time
}

// Policy holds the limits of Plan. Zero fields mean the defaults.
type Policy struct {
	// MaxVoters is the largest number of voters; an even one counts as the odd one below. Default 5.
	MaxVoters int
	// Stable is how long a member must have been alive before it gets a vote. Default 2 s.
	Stable time.Duration
	// DeadAfter is how long a voter must have been dead before its vote goes to another. Default 10 s.
	DeadAfter time.Duration
	// ForgetAfter is how long a non-voter must have been dead before it is removed. Default 24 h.
	ForgetAfter time.Duration
}

// Defaults of Policy.
const (
	DefaultMaxVoters   = 5
	DefaultStable      = 2 * time.Second
	DefaultDeadAfter   = 10 * time.Second
	DefaultForgetAfter = 24 * time.Hour
)

// Inputs is one picture of the cluster.
type Inputs struct {
	// Now is the time of the picture, on the clock of Member.Since.
	Now time.Time
	// Servers is the Raft configuration.
	Servers []Server
	// Members is what gossip knows. A server without a member is left alone: not knowing is no sign of death.
	Members []Member
	// LeaderID is this server.
	LeaderID string
	// Policy holds the limits.
	Policy Policy
}

// Op is the kind of a Change.
type Op string

const (
	// OpAddNonvoter lets a new server receive the log.
	OpAddNonvoter Op = "add-nonvoter"
	// OpAddVoter gives a server a vote.
	OpAddVoter Op = "add-voter"
	// OpReaddress records that a server has another address; its vote stays as it is.
	OpReaddress Op = "readdress"
	// OpDemote takes a vote away; the server goes on receiving the log.
	OpDemote Op = "demote"
	// OpRemove takes a server out of the configuration.
	OpRemove Op = "remove"
	// OpTransfer gives the leadership to another voter.
	OpTransfer Op = "transfer"
)

// Change is one step towards the wanted configuration.
type Change struct {
	// Op is what to do.
	Op Op
	// Server is whom to do it to, as it should be afterwards.
	Server Server
	// Reason says why, in words for a log.
	Reason string
}

func (p Policy) withDefaults() Policy {
	if p.MaxVoters <= 0 {
		p.MaxVoters = DefaultMaxVoters
	}
	if p.Stable <= 0 {
		p.Stable = DefaultStable
	}
	if p.DeadAfter <= 0 {
		p.DeadAfter = DefaultDeadAfter
	}
	if p.ForgetAfter <= 0 {
		p.ForgetAfter = DefaultForgetAfter
	}
	return p
}
