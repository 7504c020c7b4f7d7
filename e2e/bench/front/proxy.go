package front

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
)

// plan is how a proxy is run.
type plan struct {
	args    []string // its command line
	version []string // the command that prints its version
}

// proxy is a program before servers that are started here.
type proxy struct {
	dir    string
	policy string
	tls    bool // it speaks TLS to the servers
	setup  func(p *proxy, backends []string, slots int) (plan, error)

	servers []*process
	front   *process
	version []string
}

// Open implements Front.
func (p *proxy) Open(ctx context.Context, s Service) error {
	var backends []string
	if p.tls {
		if err := writeCerts(p.dir); err != nil {
			return err
		}
		s.Env = maps.Clone(s.Env)
		s.Env["CERTS"] = p.dir
	}
	for i := range s.Servers {
		port, name := firstPort+i, "s"+strconv.Itoa(i+1)
		dir := filepath.Join(p.dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		srv, err := launch(dir, name, s.environ(port, name), s.Command...)
		if err != nil {
			return err
		}
		p.servers = append(p.servers, srv)
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		if err := answers(ctx, addr, srv); err != nil {
			return err
		}
		backends = append(backends, addr)
	}
	pl, err := p.setup(p, backends, s.Slots)
	if err != nil {
		return err
	}
	p.version = pl.version
	if p.front, err = launch(p.dir, "front", append(os.Environ(), "HOME="+p.dir), pl.args...); err != nil {
		return err
	}
	return answers(ctx, p.Doors()[0], p.front)
}

// Doors implements Front.
func (p *proxy) Doors() []string { return []string{"127.0.0.1:" + strconv.Itoa(doorPort)} }

// Processes implements Front.
func (p *proxy) Processes() Processes {
	out := Processes{Own: p.front.pids()}
	for _, s := range p.servers {
		out.Servers = append(out.Servers, s.pids())
	}
	return out
}

// Version implements Front.
func (p *proxy) Version(ctx context.Context) (string, error) {
	if p.version == nil {
		return "", errors.New("a proxy tells its version once it runs")
	}
	return firstLine(ctx, p.version...)
}

// Close implements Front.
func (p *proxy) Close() error {
	if p.front != nil {
		p.front.end()
	}
	for _, s := range p.servers {
		s.end()
	}
	return nil
}

// write puts a configuration into the folder and returns its path.
func (p *proxy) write(name, text string) (string, error) {
	path := filepath.Join(p.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}
