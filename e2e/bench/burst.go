package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"meshnode/e2e/bench/contender"
)

const (
	kindBurst  = "burst"
	burstName  = "10,000 connections at once, then 20,000 that idle"
	burstConns = 10000
	burstTime  = 20 * time.Second // for all of a burst
	holders    = 2                // processes of burstConns idle connections each: one may not have as many descriptors
)

// runBurst opens connections all at once, each for one request, and then holds many that idle.
func runBurst(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.app(2, map[string]string{"MS": "0"})
	if err != nil {
		return err
	}
	if err := start(ctx, c, a); err != nil {
		return err
	}
	settled()
	p, err := c.Processes()
	if err != nil {
		return err
	}
	r.Figures["before_mb"] = float64(contender.RSS(p.Own)) / (1 << 20)
	failed, slowest := burst(appAddr, burstConns)
	r.Figures["burst_failed"], r.Figures["burst_slowest_ms"] = float64(failed), float64(slowest.Milliseconds())
	r.Figures["burst_mb"] = float64(contender.RSS(p.Own)) / (1 << 20)
	var held int
	for range holders {
		h, err := hold(ctx, appAddr, burstConns)
		if err != nil {
			return err
		}
		defer h.end()
		held += h.held
	}
	r.Figures["held"] = float64(held)
	r.Figures["held_mb"] = float64(contender.RSS(p.Own)) / (1 << 20)
	if _, err := seen(ctx, 1, nil); err != nil { // it still serves
		r.Notes = append(r.Notes, "does not answer while the idle ones are open")
	}
	return nil
}

// burst sends n requests, each by a connection of its own, all at once.
func burst(addr string, n int) (failed int, slowest time.Duration) {
	var wg sync.WaitGroup
	var bad, most atomic.Int64
	begun := time.Now()
	for range n {
		wg.Go(func() {
			if err := once(addr, begun.Add(burstTime)); err != nil {
				bad.Add(1)
				return
			}
			took := int64(time.Since(begun))
			for old := most.Load(); took > old && !most.CompareAndSwap(old, took); old = most.Load() {
			}
		})
	}
	wg.Wait()
	return int(bad.Load()), time.Duration(most.Load())
}

func once(addr string, deadline time.Time) error {
	c, err := net.DialTimeout("tcp", addr, time.Until(deadline))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	raw, err := io.ReadAll(c)
	if err == nil && !strings.HasPrefix(string(raw), "HTTP/1.1 200") {
		err = fmt.Errorf("answer %.40q", raw)
	}
	return err
}

// holder is another process that holds connections.
type holder struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	held int
}

// hold has another process open n connections and use each once.
func hold(ctx context.Context, addr string, n int) (*holder, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &holder{cmd: exec.CommandContext(ctx, self, holderWord, addr, strconv.Itoa(n))}
	h.cmd.Stderr = os.Stderr
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanf(out, "held %d\n", &h.held); err != nil {
		h.end()
		return nil, fmt.Errorf("no connections were held: %w", err)
	}
	return h, nil
}

// end closes the connections.
func (h *holder) end() {
	_ = h.in.Close() // that is what it waits for
	_ = h.cmd.Wait() // it says nothing that matters
}
