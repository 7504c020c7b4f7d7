package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// AllAddresses stands for every client address of an app, those included that its workers ask for themselves.
const AllAddresses = "*"

// Versions of the PROXY protocol.
const (
	SendProxyV1 = "v1"
	SendProxyV2 = "v2"
)

// MaxConnections is the largest limit on open connections (count).
const MaxConnections = 1 << 30

// Clients says how many clients an app lets in, and how they come. It holds from the next connection on, with no worker replaced.
type Clients struct {
	// Connections is how many connections of the app that came in by a node may be open there at once (count); 0 for no limit.
	Connections int `json:"connections,omitempty"`
	// PerClient is the same for one client: an IPv4 address, or an IPv6 network of 64 bits (count).
	PerClient int `json:"connections_per_client,omitempty"`
	// ProxyProtocol holds those of Listen by which each connection begins with a header of the PROXY protocol; AllAddresses for all.
	ProxyProtocol []string `json:"proxy_protocol,omitempty"`
	// TrustedProxies are the addresses and networks that such a header is believed from; empty for all.
	TrustedProxies []string `json:"trusted_proxies,omitempty"`
}

// IsZero reports whether nothing was asked for.
func (c Clients) IsZero() bool {
	return c.Connections == 0 && c.PerClient == 0 && len(c.ProxyProtocol) == 0 && len(c.TrustedProxies) == 0
}

func (c Clients) clone() Clients {
	c.ProxyProtocol = slices.Clone(c.ProxyProtocol)
	c.TrustedProxies = slices.Clone(c.TrustedProxies)
	return c
}

// Networks are the TrustedProxies as networks. An error names the one that is none.
func (c Clients) Networks() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range c.TrustedProxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, aerr := netip.ParseAddr(text)
			if aerr != nil || a.Zone() != "" {
				return nil, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", clip(text))
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (c Clients) validate(listen []string) error {
	problems := []error{
		validateRange("clients.connections", float64(c.Connections), MaxConnections),
		validateRange("clients.connections_per_client", float64(c.PerClient), MaxConnections),
	}
	if err := errors.Join(validateList("clients.proxy_protocol", c.ProxyProtocol), validateList("clients.trusted_proxies", c.TrustedProxies)); err != nil {
		return errors.Join(append(problems, err)...)
	}
	for _, addr := range c.ProxyProtocol {
		if _, udp := Datagrams(addr); udp {
			problems = append(problems, fmt.Errorf("clients.proxy_protocol: %q takes datagrams, which have no header", clip(addr)))
		} else if addr != AllAddresses && !slices.Contains(listen, addr) {
			problems = append(problems, fmt.Errorf("clients.proxy_protocol: %q is not among the addresses of listen", clip(addr)))
		}
	}
	if _, err := c.Networks(); err != nil {
		problems = append(problems, fmt.Errorf("clients.trusted_proxies: %w", err))
	}
	if len(c.TrustedProxies) > 0 && len(c.ProxyProtocol) == 0 {
		problems = append(problems, errors.New("clients.trusted_proxies: no address expects the PROXY protocol"))
	}
	return errors.Join(problems...)
}
