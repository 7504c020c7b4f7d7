package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/front"
)

const (
	toCheap = "forwarding"
	toNode  = "forwarding to a Node.js app"

	forwardTime  = 4 * time.Second
	forwardConns = 64
	bigConns     = 16
	heldSpare    = 500 // connections that a front might take beyond those that are held
)

// cheap is two servers that cost as little as can be. A front's own price shows best before them.
func (j job) cheap() (front.Service, error) {
	cmd, err := j.server(cheapKind)
	return front.Service{Servers: 2, Command: cmd, Env: map[string]string{}, Nodes: 1, Door: true}, err
}

// runForward measures what a front costs: a small answer on a kept connection, one on a new connection, and a large one.
func runForward(ctx context.Context, j job, f front.Front, r *result) error {
	s, err := j.cheap()
	if j.Name == toNode {
		s.Node = true
		s.Command, err = j.nodeApp()
		s.Env["MS"] = "0"
	}
	if err != nil {
		return err
	}
	if err := f.Open(ctx, s); err != nil {
		return err
	}
	settled()
	url := "http://" + f.Doors()[0]
	for _, m := range []struct {
		key, path, header string
		conns             int
	}{{"keep_", "/", "", forwardConns}, {"new_", "/", "Connection: close", forwardConns}, {"big_", "/big", "", bigConns}} {
		if j.Name == toNode && m.path == "/big" {
			continue
		}
		p := f.Processes()
		w := saturation{url: url + m.path, conns: m.conns, header: m.header, parties: []party{{"front", p.Own}, {"back", p.Back}, {"servers", p.Serving()}}}
		for _, d := range []time.Duration{time.Second, forwardTime} { // the first is to warm up
			w.time = d
			if err := w.run(ctx, r, m.key); err != nil {
				return err
			}
		}
	}
	return nil
}

// holderWord is the first argument of this program where it holds connections: the address and their number follow.
const holderWord = "hold:"

// runHeld measures memory and descriptors of a connection that was used once and idles.
func runHeld(ctx context.Context, j job, f front.Front, r *result) error {
	s, err := j.cheap()
	if err != nil {
		return err
	}
	if err := f.Open(ctx, s); err != nil {
		return err
	}
	settled()
	own := f.Processes().Own
	mem, fds := contender.RSS(own), descriptors(own)
	h, err := hold(ctx, f.Doors()[0], max(front.MaxConns()-heldSpare, 1))
	if err != nil {
		return err
	}
	defer h.end()
	time.Sleep(2 * time.Second) // buffers that are not needed are given back
	n := float64(max(h.held, 1))
	r.Figures["held"] = float64(h.held)
	r.Figures["base_mb"] = float64(mem) / (1 << 20)
	r.Figures["kb_each"] = float64(contender.RSS(own)-mem) / 1024 / n
	r.Figures["descriptors_each"] = float64(descriptors(own)-fds) / n
	return nil
}

// holderMain opens connections, sends a request on each, and holds them until its input ends.
func holderMain(addr, count string) int {
	n, err := strconv.Atoi(count)
	if err != nil {
		fmt.Fprintln(os.Stderr, "hold:", err)
		return 1
	}
	var all []net.Conn
	buf := make([]byte, 4096)
	for range n {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			break
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"); err == nil {
			var k int
			if k, err = c.Read(buf); err == nil && !strings.HasPrefix(string(buf[:k]), "HTTP/1.1 200") {
				err = fmt.Errorf("answer %.40q", buf[:k])
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "hold:", err)
			break
		}
		all = append(all, c)
	}
	fmt.Printf("held %d\n", len(all))
	_, _ = os.Stdin.Read(buf) // the end is what is waited for
	for _, c := range all {
		_ = c.Close()
	}
	return 0
}

// descriptors is how many files processes have open.
func descriptors(pids []int) (n int) {
	for _, pid := range pids {
		fds, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd")) // one that has ended has none
		n += len(fds)
	}
	return n
}
