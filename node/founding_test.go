package node

import (
	"net/netip"
	"strings"
	"testing"

	"meshnode/node/api"
	"meshnode/node/config"
)

func TestFounds(t *testing.T) {
	for _, c := range []struct {
		name string
		s    config.Settings
		want bool
	}{
		{"no join address", config.Settings{Bind: "0.0.0.0:7946"}, true},
		{"the first is its own, by loopback", config.Settings{Bind: "0.0.0.0:7946", Join: []string{"127.0.0.1:7946"}}, true},
		{"the first is its own, by the bound address", config.Settings{Bind: "127.0.0.5:7946", Join: []string{"127.0.0.5:7946", "127.0.0.6:7946"}}, true},
		{"the first is its own, as advertised", config.Settings{Bind: "0.0.0.0:7946", Advertise: "203.0.113.7:7946", Join: []string{"203.0.113.7:7946"}}, true},
		{"the first is its own behind a port mapping", config.Settings{Bind: "0.0.0.0:7946", Advertise: "203.0.113.7:9000", Join: []string{"203.0.113.7:9000"}}, true},
		{"its own is not the first", config.Settings{Bind: "127.0.0.5:7946", Join: []string{"127.0.0.6:7946", "127.0.0.5:7946"}}, false},
		{"same host, other port", config.Settings{Bind: "0.0.0.0:7946", Join: []string{"127.0.0.1:7950"}}, false},
		{"another loopback address than the bound one", config.Settings{Bind: "127.0.0.5:7946", Join: []string{"127.0.0.1:7946"}}, false},
		{"no address at all", config.Settings{Bind: "0.0.0.0:7946", Join: []string{"nowhere"}}, false},
	} {
		if got := founds(c.s); got != c.want {
			t.Errorf("%s: founds = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAdvertised(t *testing.T) {
	bound := netip.MustParseAddrPort("0.0.0.0:7946")
	for _, c := range []struct {
		name  string
		s     config.Settings
		bound netip.AddrPort
		want  string
	}{
		{"the setting", config.Settings{Advertise: "203.0.113.7:9000"}, bound, "203.0.113.7:9000"},
		{"the bound address", config.Settings{}, netip.MustParseAddrPort("127.0.0.5:7946"), "127.0.0.5:7946"},
	} {
		if got, err := advertised(c.s, c.bound, ""); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	if got, err := advertised(config.Settings{}, bound, "127.0.0.1:1"); err != nil || got != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), bound.Port()).String() {
		t.Errorf("the address that it had before becomes %q, %v", got, err)
	}
	if got, err := advertised(config.Settings{}, bound, "192.0.2.1:7946"); err != nil || strings.HasPrefix(got, "192.0.2.1:") {
		t.Errorf("an address that is none of its own any more: %q, %v", got, err)
	}
	if got, err := advertised(config.Settings{}, bound, ""); err != nil || netip.MustParseAddrPort(got).Addr().IsUnspecified() {
		t.Errorf("bound to every address: %q, %v; want an address that peers can reach", got, err)
	}
}

func TestYields(t *testing.T) {
	fresh := func(id string) api.Hello { return api.Hello{Cluster: id, Fresh: true, Members: 1} }
	old := api.Hello{Cluster: "o", Members: 3}
	configured := api.Hello{Cluster: "c", Fresh: true, Members: 1, Configured: true}
	for _, c := range []struct {
		name         string
		mine, theirs api.Hello
		want         bool
	}{
		{"a wiped seed gives way to its old cluster", fresh("f"), old, true},
		{"the old cluster never gives way", old, fresh("f"), false},
		{"a cluster with an app never gives way", configured, old, false},
		{"a fresh one gives way to one with an app", fresh("f"), configured, true},
		{"of two fresh ones the smaller identity stays", fresh("b"), fresh("a"), true},
		{"and the other way round", fresh("a"), fresh("b"), false},
		{"the same cluster", fresh("a"), fresh("a"), false},
		{"no cluster of its own", api.Hello{Members: 1}, old, false},
		{"the other has none", fresh("a"), api.Hello{Members: 1}, false},
	} {
		if got := yields(c.mine, c.theirs); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if yields(c.mine, c.theirs) && yields(c.theirs, c.mine) {
			t.Errorf("%s: both give way", c.name)
		}
	}
}
