package node

import (
	"context"
	"net/netip"

	"meshnode/balancer/proxy"
	"meshnode/node/api"
	"meshnode/store/spec"
)

// keepGates follows the configuration with what the apps say of their clients: it holds from the next connection on.
func (n *Node) keepGates(ctx context.Context) {
	for c := range n.store.Watch(ctx) {
		gates := make(map[string]proxy.Gate, len(c.Apps))
		for name, app := range c.Apps {
			gates[name] = n.gateOf(app)
		}
		n.proxy.SetGates(gates)
	}
}

// initGate makes sure that an app's gate is there before its first listener, which may be opened by a worker.
func (n *Node) initGate(name string) {
	if app, ok := n.store.State().Apps[name]; ok {
		n.proxy.InitGate(name, n.gateOf(app))
	}
}

// gateOf is the data path's gate for what an app asks for.
func (n *Node) gateOf(app spec.App) proxy.Gate {
	c := app.Clients
	g := proxy.Gate{Connections: c.Connections, PerClient: c.PerClient, Named: headerOf(app.Process) != 0}
	nets, err := c.Networks()
	if err != nil { // it was validated when it was proposed
		n.log.Warn("no proxy is trusted", "app", app.Name, "err", err)
		nets = []netip.Prefix{{}} // which holds no address
	}
	g.Trusted = nets
	if len(c.ProxyProtocol) > 0 {
		g.Proxied = make(map[string]bool, len(c.ProxyProtocol))
	}
	for _, addr := range c.ProxyProtocol {
		key := proxy.AllListeners
		if addr != spec.AllAddresses {
			key, _, _, _ = keyOf(addr)
		}
		g.Proxied[key] = true
	}
	return g
}

// clientCounts are what came in here of an app.
func (n *Node) clientCounts(app string) api.ClientCounts {
	st := n.proxy.GateStats(app)
	return api.ClientCounts{Open: st.Open, Clients: st.Clients, OverLimit: st.OverLimit, OverClientLimit: st.OverPerClient,
		BadHeader: st.BadHeader, Untrusted: st.Untrusted}
}

// headerOf is the version of the PROXY protocol header that an app's workers want.
func headerOf(p spec.Process) proxy.HeaderVersion {
	switch p.SendProxy {
	case spec.SendProxyV1:
		return 1
	case spec.SendProxyV2:
		return 2
	}
	return 0
}
