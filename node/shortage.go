package node

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer/proxy"
	"meshnode/node/api"
)

// moreDescriptors is what to do about too few.
const moreDescriptors = "raise its limit and start it again: LimitNOFILE= in its systemd unit (systemctl edit meshnode), elsewhere ulimit -n; or add a server"

// descriptors are how many this process may have open, and how many it has (count).
func descriptors() (limit, open uint64) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err == nil {
		limit = r.Cur
	}
	if i, err := os.Stat("/proc/self/fd"); err == nil { // its size, in newer kernels
		open = uint64(max(i.Size(), 0))
	}
	return limit, open
}

// shortageWarnings tell of what connections had to do without in the last minute.
func (n *Node) shortageWarnings() []api.Warning {
	var out []api.Warning
	ago := func(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }
	s := n.proxy.Shortage(proxy.Descriptors)
	_, turned, last := n.mux.Shortage()
	s.Times, s.Last = s.Times+turned, laterOf(s.Last, last)
	if s.Times > 0 {
		limit, open := descriptors()
		what := fmt.Sprintf("%s is short of descriptors: %d connections were refused or had to wait, the last %s ago; its limit is %d", n.s.Node, s.Times, ago(s.Last), limit)
		if open > 0 {
			what += fmt.Sprintf(", %d are open", open)
		}
		out = append(out, api.Warning{What: what, Remedy: moreDescriptors})
	}
	if s := n.proxy.Shortage(proxy.Relays); s.Times > 0 {
		limit, _ := descriptors()
		out = append(out, api.Warning{What: fmt.Sprintf("%s passes on as many connections as its limit of %d descriptors allows: %d were refused, the last %s ago", n.s.Node, limit, s.Times, ago(s.Last)),
			Remedy: moreDescriptors})
	}
	if s := n.proxy.Shortage(proxy.Ports); s.Times > 0 {
		out = append(out, api.Warning{What: fmt.Sprintf("%s has no ports left to dial other servers or workers from: %d connections were refused, had to wait or were served elsewhere, the last %s ago", n.s.Node, s.Times, ago(s.Last)),
			Remedy: "widen the range: sysctl net.ipv4.ip_local_port_range; have ports used again sooner: sysctl net.ipv4.tcp_tw_reuse=1; or let this server have workers of its own"})
	}
	return out
}

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// shortageCounts are the same as figures.
func (n *Node) shortageCounts() []count {
	return []count{
		{"shortage_descriptors_total", "Connections that were refused or had to wait because this process had too few descriptors.", true, func() float64 {
			turned, _, _ := n.mux.Shortage()
			return float64(n.proxy.Shortage(proxy.Descriptors).Total + turned)
		}},
		{"shortage_relays_total", "Connections refused because as many as may cross this node did.", true, func() float64 { return float64(n.proxy.Shortage(proxy.Relays).Total) }},
		{"shortage_ports_total", "Connections for which this server had no port to dial from.", true, func() float64 { return float64(n.proxy.Shortage(proxy.Ports).Total) }},
		{"descriptors_open", "Descriptors of this process that are open now.", false, func() float64 { _, open := descriptors(); return float64(open) }},
		{"descriptors_limit", "Descriptors that this process may have open.", false, func() float64 { limit, _ := descriptors(); return float64(limit) }},
	}
}
