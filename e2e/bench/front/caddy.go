package front

import (
	"fmt"
	"strings"
)

func caddy(p *proxy, backends []string, _ int) (plan, error) {
	bin, err := find("caddy", "caddy")
	if err != nil {
		return plan{}, err
	}
	policy := "round_robin"
	if p.policy == "least connections" {
		policy = "least_conn"
	}
	conf, err := p.write("Caddyfile", fmt.Sprintf(`{
  admin off
  auto_https off
  servers {
    protocols h1
  }
}
http://:%d {
  bind 127.0.0.1
  reverse_proxy %s {
    lb_policy %s
    lb_try_duration 2s
    fail_duration 10s
    transport http {
      dial_timeout 1s
      response_header_timeout 5s
      keepalive_idle_conns_per_host 256
    }
  }
}
`, doorPort, strings.Join(backends, " "), policy))
	return plan{args: []string{bin, "run", "--config", conf, "--adapter", "caddyfile"}, version: []string{bin, "version"}}, err
}
