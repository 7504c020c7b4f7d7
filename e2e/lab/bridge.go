package lab

import "fmt"

// bridge joins the hosts by the kernel's switch, in a namespace of its own, which is the client's place too.
type bridge struct{ *Lab }

func (b *bridge) open() {
	b.t.Helper()
	b.openPlace()
	b.ip("-n", b.sw(), "link", "add", "br0", "type", "bridge")
	b.ip("-n", b.sw(), "addr", "add", b.address(clientNumber)+"/24", "dev", "br0")
	b.ip("-n", b.sw(), "link", "set", "br0", "up")
}

func (b *bridge) plug(h *Host, i int) {
	b.t.Helper()
	port := fmt.Sprintf("p%d", i)
	b.ip("-n", h.ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", b.sw())
	b.ip("-n", b.sw(), "link", "set", port, "master", "br0", "up")
	b.ip("-n", h.ns, "addr", "add", h.IP+"/24", "dev", "eth0")
	b.ip("-n", h.ns, "link", "set", "eth0", "up")
}

func (b *bridge) link(i int, on bool) {
	b.t.Helper()
	state := "down"
	if on {
		state = "up"
	}
	b.ip("-n", b.sw(), "link", "set", fmt.Sprintf("p%d", i), state)
}

func (b *bridge) place() string { return b.sw() }

func (b *bridge) close() {}
