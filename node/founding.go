package node

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/go-sockaddr"

	"meshnode/node/api"
	"meshnode/node/config"
)

// founds reports whether a new server with these settings may found a cluster: without an address to join, or when the first one is its
// own, so that the same command line works on every server.
func founds(s config.Settings) bool {
	return len(s.Join) == 0 || own(s.Join[0], s)
}

// own reports whether a join address, resolved now, is this server's.
func own(addr string, s config.Settings) bool { return ownForms(addr, resolve(addr), s) }

// ownForms is the same with the "ip:port" forms of the address.
func ownForms(addr string, forms []string, s config.Settings) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if s.Advertise == addr {
		return true
	}
	bindHost, bindPort, _ := net.SplitHostPort(s.Bind)
	if _, p, err := net.SplitHostPort(s.Advertise); err == nil && port == p && bindPort != p {
		bindPort = p // behind a port mapping
	}
	if port != bindPort {
		return false
	}
	mine := localIPs(bindHost)
	if h, _, err := net.SplitHostPort(s.Advertise); err == nil {
		if ip := net.ParseIP(h); ip != nil {
			mine = append(mine, ip)
		}
	}
	return slices.ContainsFunc(forms, func(form string) bool {
		at, err := netip.ParseAddrPort(form)
		return err == nil && slices.ContainsFunc(mine, net.IP(at.Addr().AsSlice()).Equal)
	})
}

// localIPs are the addresses that a socket bound to host answers on.
func localIPs(host string) []net.IP {
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return []net.IP{ip}
	}
	ips := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ips
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// routeLimit is how long a server that was there before waits for a name, to learn which of its addresses leads to that.
const routeLimit = 2 * time.Second

// advertised is the address that peers reach this server at: the setting, else the bound address, else the way to the first join address, else
// the one it had before, where that is still its own, else a private address of this server.
func advertised(s config.Settings, bound netip.AddrPort, before string) (string, error) {
	if s.Advertise != "" {
		host, port, err := net.SplitHostPort(s.Advertise)
		if err != nil {
			return "", fmt.Errorf("-advertise %s: %w", s.Advertise, err)
		}
		ips, err := net.LookupIP(host)
		if err != nil || len(ips) == 0 {
			return "", fmt.Errorf("-advertise %s: the name has no address; give an IP address", s.Advertise)
		}
		return net.JoinHostPort(ips[0].String(), port), nil
	}
	if !bound.Addr().IsUnspecified() {
		return bound.String(), nil
	}
	limit := time.Duration(0)
	if before != "" {
		limit = routeLimit
	}
	for _, j := range s.Join {
		if ip := routeTo(j, limit); ip.IsValid() && !ip.IsLoopback() {
			return netip.AddrPortFrom(ip, bound.Port()).String(), nil
		}
	}
	if at, err := netip.ParseAddrPort(before); err == nil && slices.ContainsFunc(localIPs(""), net.IP(at.Addr().AsSlice()).Equal) {
		return netip.AddrPortFrom(at.Addr(), bound.Port()).String(), nil
	}
	for _, find := range []func() (string, error){sockaddr.GetPrivateIP, sockaddr.GetPublicIP} {
		if text, err := find(); err == nil {
			if ip, err := netip.ParseAddr(text); err == nil {
				return netip.AddrPortFrom(ip, bound.Port()).String(), nil
			}
		}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), bound.Port()).String(), nil
}

// routeTo is the local address that packets to addr would leave from; no packet is sent. limit bounds the wait for a name; 0 = as long as it takes.
func routeTo(addr string, limit time.Duration) netip.Addr {
	c, err := net.DialTimeout("udp", addr, limit)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}

// yields reports whether this server, as it describes itself in mine, must give up its own cluster for the one of theirs: it has just
// founded it, nothing is in it, and the other is older or larger. Of two that are equally new the one with the smaller identity stays.
func yields(mine, theirs api.Hello) bool {
	if mine.Cluster == "" || theirs.Cluster == "" || mine.Cluster == theirs.Cluster {
		return false
	}
	if !mine.Fresh || mine.Configured || mine.Members > 1 {
		return false
	}
	if theirs.Fresh && !theirs.Configured && theirs.Members <= 1 {
		return theirs.Cluster < mine.Cluster
	}
	return true
}
