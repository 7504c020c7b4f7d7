package front

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

func haproxyTCP(p *proxy, backends []string, _ int) (plan, error) {
	return p.haproxy("tcp", nil, "", backends)
}

func haproxyHTTP(p *proxy, backends []string, slots int) (plan, error) {
	more := ""
	if slots > 0 && p.policy != "" {
		more = fmt.Sprintf("maxconn %d", slots)
	}
	return p.haproxy("http", []string{"http-reuse always", "option httpchk GET /", "retry-on conn-failure empty-response response-timeout",
		"timeout server 5s", "timeout queue 10s"}, more, backends)
}

// haproxyTLS speaks TLS 1.3 to the servers, and both sides show certificates, as nodes of meshnode do.
func haproxyTLS(p *proxy, backends []string, _ int) (plan, error) {
	tls := fmt.Sprintf("ssl verify required ca-file %s crt %s ssl-min-ver TLSv1.3", filepath.Join(p.dir, caFile), filepath.Join(p.dir, clientFile))
	return p.haproxy("tcp", nil, tls, backends)
}

// haproxy runs one thread for each core, and splices where it can.
func (p *proxy) haproxy(mode string, lines []string, server string, backends []string) (plan, error) {
	bin, err := find("haproxy", "haproxy")
	if err != nil {
		return plan{}, err
	}
	balance := "roundrobin"
	if p.policy == "least connections" {
		balance = "leastconn"
	}
	var b strings.Builder
	fmt.Fprintf(&b, `global
  nbthread %d
  maxconn %d
  tune.maxpollevents 200
defaults
  mode %s
  timeout connect 1s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  option redispatch 1
  retries 3
  option splice-request
  option splice-response
frontend f
  bind 127.0.0.1:%d backlog 8192
  default_backend b
backend b
  balance %s
`, runtime.NumCPU(), MaxConns(), mode, doorPort, balance)
	for _, l := range lines {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	for i, addr := range backends {
		fmt.Fprintf(&b, "  server s%d %s check inter 1s fall 2 rise 2 %s\n", i+1, addr, server)
	}
	conf, err := p.write("haproxy.cfg", b.String())
	return plan{args: []string{bin, "-f", conf, "-db"}, version: []string{bin, "-v"}}, err
}
