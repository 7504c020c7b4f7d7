package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// JoinHostPort brings an address into the form host:port and adds port where the address names none. It takes a name,
// an IPv4 address, an IPv6 address with or without brackets, and each of them with a port. The host may be empty
// (":7946"). It checks the port's range but resolves nothing.
func JoinHostPort(addr, port string) (string, error) {
	if addr == "" {
		return "", fmt.Errorf("the address is empty")
	}
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]")); err == nil {
		return net.JoinHostPort(ip.String(), port), nil
	}
	if !strings.Contains(addr, ":") {
		addr = net.JoinHostPort(addr, port)
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is not an address of the form host:port", addr)
	}
	if n, err := strconv.Atoi(p); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("%q has no port between 0 and 65535", addr)
	}
	if strings.ContainsAny(host, " /@") {
		return "", fmt.Errorf("%q is not an address of the form host:port", addr)
	}
	return net.JoinHostPort(host, p), nil
}

// normalize brings every address into its full form and returns one problem per address that has none. What has a
// problem is put back to its default, so that nothing reports it twice.
func (s *Settings) normalize(where func(name string) string) []error {
	var problems []error
	full := func(name, addr, port, fallback string) string {
		whole, err := JoinHostPort(addr, port)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where(name), err))
			return fallback
		}
		return whole
	}
	var join []string
	for _, addr := range s.Join {
		if whole := full("join", addr, PeerPort, ""); whole != "" {
			join = append(join, whole)
		}
	}
	s.Join = join
	s.Bind = full("bind", s.Bind, PeerPort, defaultBind)
	if s.Advertise != "" {
		_, port, _ := net.SplitHostPort(s.Bind)
		s.Advertise = full("advertise", s.Advertise, port, "")
	}
	switch _, err := strconv.ParseUint(s.HTTP, 10, 16); {
	case s.HTTP == "" || s.HTTP == "off":
		s.HTTP = ""
	case err == nil: // a bare port stays on the loopback address, as the default does
		s.HTTP = net.JoinHostPort("127.0.0.1", s.HTTP)
	default:
		_, port, _ := net.SplitHostPort(defaultHTTP)
		s.HTTP = full("http", s.HTTP, port, "")
	}
	return problems
}
