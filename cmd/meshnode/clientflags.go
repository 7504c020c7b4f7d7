package main

import (
	"flag"
	"fmt"
	"strings"

	"meshnode/store/spec"
)

// declareClients adds the flags that say how many clients are let in, and how they come.
func (f *appFlags) declareClients(fs *flag.FlagSet) {
	c := &f.base.Clients
	fs.Var(parsedFlag[int]{&c.Connections, parseCount}, "limit-connections", "`n` connections of the app that a server lets in at once (default no limit)")
	fs.Var(parsedFlag[int]{&c.PerClient, parseCount}, "limit-per-client", "`n` connections that a server lets in at once from one client address (default no limit)")
	fs.BoolVar(&f.proxied, "proxy-protocol", false, "connections begin with a PROXY protocol header (v1 or v2), which names the client")
	fs.Var((*listFlag)(&c.TrustedProxies), "trusted-proxy", "`network` where such a header may come from, like 10.0.0.0/8; repeat it for more (default anywhere)")
	fs.Var(parsedFlag[string]{&f.base.Process.SendProxy, parseSendProxy}, "send-proxy", "`version` PROXY protocol header, v1 or v2, that tells a worker other than Node.js of the client")
}

func parseSendProxy(word string) (string, error) {
	switch v := "v" + strings.TrimPrefix(strings.ToLower(word), "v"); v {
	case spec.SendProxyV1, spec.SendProxyV2:
		return v, nil
	}
	return "", fmt.Errorf("%q: use v1 or v2", word)
}
