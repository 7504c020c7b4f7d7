package lab

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
)

// routed joins the hosts, and the client's place, by a router. Each has one neighbour: a full mesh of hosts on one switch would
// overflow the kernel's table of neighbours, which has 1,024 entries for all namespaces together.
type routed struct{ *Lab }

// gateway is the router's address at every cable.
const gateway = "169.254.77.1"

// NewRouted returns a lab like New's for many hosts, at most 250. Tests that need it are skipped where it cannot be.
func NewRouted(t testing.TB, n int) *Lab {
	t.Helper()
	if !haveSpaces() {
		t.Skip("needs network namespaces")
	}
	return build(t, n, func(l *Lab) fabric { return &routed{l} })
}

func (r *routed) open() {
	r.t.Helper()
	r.openPlace()
	for _, set := range []string{"ip_forward=1", "conf.all.rp_filter=0", "conf.all.send_redirects=0"} {
		r.ip("netns", "exec", r.sw(), "sysctl", "-qw", "net.ipv4."+set)
	}
	r.ip("netns", "add", r.place())
	r.cable(r.place(), r.address(clientNumber), clientNumber)
}

func (r *routed) plug(h *Host, i int) {
	r.t.Helper()
	r.cable(h.ns, h.IP, i)
}

func (r *routed) cable(ns, ip string, i int) {
	r.t.Helper()
	port := fmt.Sprintf("p%d", i)
	r.ip("-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", r.sw())
	r.ip("-n", ns, "addr", "add", ip+"/32", "dev", "eth0")
	r.ip("-n", ns, "link", "set", "eth0", "up")
	r.ip("-n", ns, "route", "add", gateway, "dev", "eth0", "scope", "link")
	r.ip("-n", ns, "route", "add", "default", "via", gateway, "src", ip)
	r.ip("-n", r.sw(), "addr", "add", gateway+"/32", "dev", port)
	r.ip("-n", r.sw(), "link", "set", port, "up")
	r.ip("-n", r.sw(), "route", "add", ip+"/32", "dev", port)
}

// link has the router drop what comes from a host and what goes to it; without its own cable its routes would go.
func (r *routed) link(i int, on bool) {
	r.t.Helper()
	verb := "add"
	if on {
		verb = "del"
	}
	r.ip("-n", r.sw(), "rule", verb, "iif", fmt.Sprintf("p%d", i), "blackhole")
	r.ip("-n", r.sw(), "rule", verb, "to", r.Host(i).IP, "blackhole")
}

// Traffic is what crossed a host's cable since it was plugged in.
type Traffic struct{ InBytes, OutBytes, InPackets, OutPackets uint64 }

// Traffic returns what crossed each host's cable, in the order of the hosts, and the client's, whole frames with their headers.
func (l *Lab) Traffic() (hosts []Traffic, client Traffic) {
	l.t.Helper()
	raw, err := exec.Command("ip", "-n", l.sw(), "-j", "-s", "link", "show").Output()
	if err != nil {
		l.t.Fatalf("ip -s link: %v", err)
	}
	type side struct{ Bytes, Packets uint64 }
	var links []struct {
		Name  string                `json:"ifname"`
		Stats struct{ RX, TX side } `json:"stats64"`
	}
	if err := json.Unmarshal(raw, &links); err != nil {
		l.t.Fatalf("ip -s link: %v: %s", err, raw)
	}
	hosts = make([]Traffic, len(l.hosts))
	for _, link := range links {
		s := link.Stats // the router receives what the host sends
		t := Traffic{InBytes: s.TX.Bytes, OutBytes: s.RX.Bytes, InPackets: s.TX.Packets, OutPackets: s.RX.Packets}
		var i int
		if _, err := fmt.Sscanf(link.Name, "p%d", &i); err != nil {
			continue
		}
		if i == clientNumber {
			client = t
		} else if i >= 1 && i <= len(hosts) {
			hosts[i-1] = t
		}
	}
	return hosts, client
}

// Sub is what was added to a former count.
func (t Traffic) Sub(old Traffic) Traffic {
	return Traffic{t.InBytes - old.InBytes, t.OutBytes - old.OutBytes, t.InPackets - old.InPackets, t.OutPackets - old.OutPackets}
}

func (r *routed) place() string { return r.prefix() + "-c" }

func (r *routed) close() {
	if out, err := exec.Command("ip", "netns", "del", r.place()).CombinedOutput(); err != nil {
		r.t.Logf("ip netns del %s: %v: %s", r.place(), err, out)
	}
}
