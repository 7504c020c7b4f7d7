package node

import (
	"time"
)

// metricLearnedDropped counts client addresses that were not recorded because too many waited; the next worker reports them again.
var metricLearnedDropped = []string{"node", "learned_dropped"}

// Counters of what was refused to those who are not who they should be.
var (
	metricWrongCodes  = []string{"node", "wrong_codes"}  // codes of admission that no server shows
	metricWrongTokens = []string{"node", "wrong_tokens"} // join tokens that let nobody in
	metricFalseNames  = []string{"node", "false_names"}  // peers that claimed to be another than their certificate says
)

func (n *Node) count(name []string) { n.tele.IncrCounter(name, 1) }

// count is one figure among the metrics, read when somebody asks.
type count struct {
	name, help string
	counter    bool // it only grows
	read       func() float64
}

// collect offers the counts of the data path as metrics: they are plain numbers there.
func (n *Node) collect() error {
	for _, m := range append(n.shortageCounts(), []count{
		{"connections_accepted_total", "Connections accepted from clients and peers.", true, func() float64 { return float64(n.proxy.Stats().Accepted) }},
		{"connections_open", "Connections open now.", false, func() float64 { return float64(n.proxy.Stats().Open) }},
		{"connections_handed_off_total", "Sockets that workers took.", true, func() float64 { return float64(n.proxy.Stats().HandedOff) }},
		{"connections_forwarded_out_total", "Connections that peers took.", true, func() float64 { return float64(n.proxy.Stats().ForwardedOut) }},
		{"connections_forwarded_in_total", "Connections that came from peers and were taken.", true, func() float64 { return float64(n.proxy.Stats().ForwardedIn) }},
		{"connections_refused_total", "Connections that nobody could serve.", true, func() float64 { return float64(n.proxy.Stats().Refused) }},
		{"connections_hedged_total", "Peers that did not answer soon, so that another target was asked as well.", true, func() float64 { return float64(n.proxy.Stats().Hedged) }},
		{"connections_unhedged_total", "Peers that did not answer soon, and no other was asked, because too many were already.", true, func() float64 { return float64(n.proxy.Stats().Unhedged) }},
		{"connections_rescued_total", "Connections that a worker did not accept, so that another was given them.", true, func() float64 { return float64(n.proxy.Stats().Rescued) }},
		{"workers_hung", "Workers that accept nothing, though connections wait for them.", false, func() float64 { return float64(len(n.proxy.Hung())) }},
		{"connections_idle_total", "Relayed connections that were reset because no byte moved.", true, func() float64 { return float64(n.proxy.Stats().TimedOut) }},
		{"connections_retried_total", "Targets that did not take a connection, so that another was asked.", true, func() float64 { return float64(n.proxy.Stats().Retried) }},
		{"connections_waiting", "Connections that wait because every worker has all it may have.", false, func() float64 { return float64(n.bal.Waits().Waiting) }},
		{"queue_refused_total", "Connections refused at once because no more may wait.", true, func() float64 { return float64(n.bal.Waits().Refused) }},
		{"queue_timeouts_total", "Connections refused because they waited too long.", true, func() float64 { return float64(n.bal.Waits().TimedOut) }},
		{"peers_ejected", "Peers that get no connections because they did not answer.", false, func() float64 { return float64(len(n.bal.Ejected(time.Now()))) }},
		{"ejections_total", "How often a peer was ejected.", true, func() float64 { done, _ := n.bal.Ejections(); return float64(done) }},
		{"ejections_spared_total", "How often a peer was not ejected because half of them were already.", true, func() float64 { _, spared := n.bal.Ejections(); return float64(spared) }},
		{"connections_over_limit_total", "Connections refused because their app had all that it may have here.", true, func() float64 { return float64(n.proxy.GateStats("").OverLimit) }},
		{"connections_over_client_limit_total", "Connections refused because their client had all that it may have here.", true, func() float64 { return float64(n.proxy.GateStats("").OverPerClient) }},
		{"connections_bad_header_total", "Connections refused because they did not begin with a valid PROXY protocol header.", true, func() float64 { return float64(n.proxy.GateStats("").BadHeader) }},
		{"connections_untrusted_total", "Connections refused because a PROXY protocol header is not believed from their address.", true, func() float64 { return float64(n.proxy.GateStats("").Untrusted) }},
		{"connections_uncounted_total", "Connections let in without a count of their client, of whom too many were counted.", true, func() float64 { return float64(n.proxy.GateStats("").Uncounted) }},
		{"clients_counted", "Client addresses that are counted now.", false, func() float64 { return float64(n.proxy.GateStats("").Clients) }},
		{"datagram_sessions", "Clients whose datagrams cross this node now.", false, func() float64 { return float64(n.datagrams.Stats().Open) }},
		{"datagrams_in_total", "Datagrams read from clients.", true, func() float64 { return float64(n.datagrams.Stats().In) }},
		{"datagrams_answered_total", "Datagrams sent back to clients.", true, func() float64 { return float64(n.datagrams.Stats().Answered) }},
		{"datagrams_forwarded_out_total", "Datagrams given to peers.", true, func() float64 { return float64(n.datagrams.Stats().Forwarded) }},
		{"datagrams_forwarded_in_total", "Datagrams that came from peers.", true, func() float64 { return float64(n.datagrams.Stats().FromPeers) }},
		{"datagrams_no_target_total", "Datagrams dropped because no worker was ready anywhere.", true, func() float64 { return float64(n.datagrams.Stats().NoTarget) }},
		{"datagrams_no_room_total", "Datagrams dropped because a socket or a stream took no more.", true, func() float64 { return float64(n.datagrams.Stats().NoRoom) }},
		{"datagrams_no_session_total", "Datagrams dropped because there may be no more sessions.", true, func() float64 { return float64(n.datagrams.Stats().NoSession) }},
		{"datagram_sessions_failed_total", "Sessions that ended because their worker or peer was not there.", true, func() float64 { return float64(n.datagrams.Stats().Failed) }},
		{"claims_taken_total", "Claims made on targets.", true, func() float64 { return float64(n.bal.Counts().Taken) }},
		{"claims_returned_total", "Claims given back.", true, func() float64 { return float64(n.bal.Counts().Returned) }},
		{"audit_lost_total", "Changes that are not in the audit log, because it could not be written.", true, func() float64 { lost, _ := n.view.audit.Failed(); return float64(lost) }},
		{"log_lines_lost_total", "Lines of worker output that were not stored or not passed on.", true, func() float64 { return float64(n.sup.LostLines()) }},
		{"admissions_total", "Servers that this node has given the cluster key.", true, func() float64 { return float64(n.door.desk.Stats().Admitted) }},
		{"admissions_waiting", "Servers that ask this node to be let in.", false, func() float64 { return float64(n.door.desk.Stats().Places) }},
		{"admissions_refused_total", "Servers that found no place to wait for their admission.", true, func() float64 { return float64(n.door.desk.Stats().Refused) }},
		{"load_busy", "Share of this server's cores in use, 0 to 1.", false, n.view.sampler.Busy},
	}...) {
		if err := n.tele.Collect(m.name, m.help, m.counter, m.read); err != nil {
			return err
		}
	}
	return nil
}
