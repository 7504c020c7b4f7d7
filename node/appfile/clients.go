package appfile

import (
	"fmt"
	"slices"
	"strings"

	"meshnode/store/spec"
)

// clientKeys are the keys that say how many clients an app lets in, and how they come.
func clientKeys() []key {
	c := func(d *draft) *spec.Clients { return &d.app.Clients }
	return []key{
		{name: "listen", set: setListen},
		{name: "proxy_protocol", set: func(d *draft, v value) error {
			on, err := v.flag()
			if on {
				c(d).ProxyProtocol = []string{spec.AllAddresses}
			}
			return err
		}},
		of("trusted_proxies", value.texts, func(d *draft) *[]string { return &c(d).TrustedProxies }),
		of("send_proxy", func(v value) (string, error) {
			word, err := v.scalar()
			switch word = strings.TrimPrefix(strings.ToLower(word), "v"); {
			case err != nil || v.kind == boolean && word == "false":
				return "", err
			case word != "1" && word != "2":
				return "", fmt.Errorf("%q: use one of %s, %s", clip(word), spec.SendProxyV1, spec.SendProxyV2)
			}
			return "v" + word, nil
		}, func(d *draft) *string { return &d.app.Process.SendProxy }),
	}
}

// setListen reads client addresses: texts, or objects that say more of an address.
func setListen(d *draft, v value) error {
	all := v.list
	if v.kind != list {
		all = []value{v}
	}
	d.app.Listen = []string{}
	for _, e := range all {
		l := listen{}
		if e.kind != object {
			word, err := e.scalar()
			if err != nil {
				return fmt.Errorf("an address must be a text or an object with address, and not %s", e.kind)
			}
			l.address = word
		} else if err := l.read(e); err != nil {
			return err
		}
		addr := address(l.address)
		if err := spec.ValidateListen(addr); err != nil {
			return err
		}
		d.app.Listen = append(d.app.Listen, addr)
		if p := &d.app.Clients.ProxyProtocol; l.proxied && !slices.Contains(*p, spec.AllAddresses) {
			*p = append(*p, addr)
		}
	}
	return nil
}

// listen is what an entry of listen says.
type listen struct {
	address string
	proxied bool
}

func (l *listen) read(v value) error {
	for _, e := range v.keys {
		var err error
		switch snake(e.key) {
		case "address":
			l.address, err = e.value.scalar()
		case "proxy_protocol":
			l.proxied, err = e.value.flag()
		default:
			err = unknown(e.key, []key{{name: "address"}, {name: "proxy_protocol"}})
		}
		if err != nil {
			return fmt.Errorf("%s: %w", clip(e.key), err)
		}
	}
	return nil
}
