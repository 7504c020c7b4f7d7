package api

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// MaxExplained is how many of the last decisions are told at most (count).
const MaxExplained = 64

// ExplainQuery asks how connections of an app are placed.
type ExplainQuery struct {
	App    string
	Node   string // Node that is asked about; empty = the one that answers
	Client string // Client is the IP address that the next connection is assumed to come from; it matters to the policy hash alone
	Count  int    // Count of the last decisions
}

// Explanation is how one node places the connections of an app that come in there.
type Explanation struct {
	App    string       `json:"app"`
	Node   string       `json:"node"`
	Policy string       `json:"policy"`
	Next   Decision     `json:"next"`           // as it would be now; nothing is claimed
	Last   []Decision   `json:"last"`           // the newest first
	Direct int          `json:"direct"`         // open connections that workers accepted by themselves: nothing was decided about them
	Hung   []HungWorker `json:"hung,omitempty"` // workers here that are asked only where nobody else can be
}

// HungWorker is a worker that accepts no connections, though some wait.
type HungWorker struct {
	App    string  `json:"app"`
	Worker string  `json:"worker"`
	PID    int     `json:"pid"`
	For    float64 `json:"seconds"`
	Reason string  `json:"reason"`
}

// Decision is how one connection was placed. Times are in seconds.
type Decision struct {
	Time       time.Time   `json:"time"`
	Client     string      `json:"client,omitempty"`
	Policy     string      `json:"policy"`
	Kind       string      `json:"kind"`   // PlacedHere, PlacedThere or PlacedNowhere
	Target     string      `json:"target"` // worker or node
	Why        string      `json:"why"`    // one of a few words that stay the same
	Reason     string      `json:"reason"` // the same as a sentence
	Median     float64     `json:"median_seconds"`
	Hop        float64     `json:"hop_seconds"`
	Margin     float64     `json:"margin_seconds"`
	ZoneMargin float64     `json:"zone_margin_seconds"`
	Waiting    int         `json:"waiting"`
	Peers      int         `json:"peers"` // that serve the app and are heard
	Considered []Candidate `json:"considered"`
}

// Kinds of a Decision.
const (
	PlacedHere    = "here"
	PlacedThere   = "forwarded"
	PlacedNowhere = "nowhere"
)

// Candidate is a node as a decision saw it. Times are in seconds.
type Candidate struct {
	Node     string  `json:"node"`
	Here     bool    `json:"here,omitempty"`
	Compared bool    `json:"compared"`
	State    string  `json:"state"` // "free", "full", "ejected", "silent", "refused", "no worker", "blocked", "hung"
	OtherZ   bool    `json:"other_zone,omitempty"`
	Workers  float64 `json:"workers"` // ready, by weight and slow start
	Open     float64 `json:"open"`    // short connections, estimated for peers
	Long     float64 `json:"long"`
	Free     int     `json:"free"` // places until max_connections; -1 = no limit
	Service  float64 `json:"service_seconds"`
	Expected float64 `json:"expected_seconds"` // wait and service there; what least_load compares, and the way
	Score    float64 `json:"score"`            // Score is what the other policies compare: the least has the connection
	Age      float64 `json:"report_age_seconds"`
	Ejected  float64 `json:"ejected_seconds,omitempty"` // for how long from now
}

func (s *Server) explainRoute(mux *http.ServeMux, pattern string, backend Explains) {
	s.handle(mux, pattern, named(func(ctx context.Context, app string, c call) (any, error) {
		q := ExplainQuery{App: app, Node: c.URL.Query().Get("node")}
		if q.Client = c.URL.Query().Get("client"); q.Client != "" {
			if _, err := netip.ParseAddr(q.Client); err != nil {
				return nil, Errorf(CodeInvalid, "", "%q is no IP address of a client", q.Client)
			}
		}
		n, err := strconv.Atoi(c.URL.Query().Get("count"))
		if err != nil || n < 0 || n > MaxExplained {
			return nil, Errorf(CodeInvalid, "", "the number of decisions must be from 0 to %d", MaxExplained)
		}
		q.Count = n
		e, err := backend.Explain(ctx, q)
		e.Last = filled(e.Last)
		return e, err
	}))
}

func (q ExplainQuery) values() url.Values {
	v := url.Values{"count": {strconv.Itoa(q.Count)}}
	if q.Node != "" {
		v.Set("node", q.Node)
	}
	if q.Client != "" {
		v.Set("client", q.Client)
	}
	return v
}

// Explain asks how the connections of an app are placed.
func (c *Client) Explain(ctx context.Context, q ExplainQuery) (Explanation, error) {
	return get[Explanation](ctx, c, appPath(q.App)+"/explain", q.values())
}

// ExplainPeer asks a peer about itself.
func (c *Client) ExplainPeer(ctx context.Context, q ExplainQuery) (Explanation, error) {
	q.Node = ""
	return get[Explanation](ctx, c, "/peer"+appPath(q.App)+"/explain", q.values())
}
