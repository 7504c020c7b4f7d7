package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrGone is returned once the keeper is gone. The kernel ends this process then.
var ErrGone = errors.New("the keeper is gone")

// variable names the descriptor by which a node reaches its keeper, standbyVariable a node that is to wait for its turn.
const (
	variable        = "_MESHNODE_KEEPER"
	standbyVariable = "_MESHNODE_STANDBY"
)

// Kept is one thing that the keeper has kept. Its descriptors are the caller's.
type Kept struct {
	Name  string
	Meta  json.RawMessage
	FDs   []int
	PID   int  // PID of a worker, 0 = descriptors alone.
	Ended bool // Ended: the worker has ended, and waits for Reap.
}

// Client is the node's side of the keeper.
type Client struct {
	conn  *net.UnixConn
	yield chan struct{}
	wg    sync.WaitGroup

	mu      sync.Mutex // guards all below
	next    uint64
	waiting map[uint64]func(packet, []int) // takes the answers to a request; returns nothing more after kindAnswer
	ends    map[int]chan struct{}
	gone    bool
	pings   chan struct{}
}

// IsNode reports whether a process with this environment was started by a keeper.
func IsNode(environ []string) bool { return valueOf(environ, variable) != "" }

func valueOf(environ []string, name string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// Connect returns the client of the keeper that started this process, which has this environment. A node that was started beside another
// one blocks until that has let go of everything.
func Connect(environ []string) (*Client, error) {
	fd, err := strconv.Atoi(valueOf(environ, variable))
	if err != nil {
		return nil, fmt.Errorf("%s is set by meshnode itself, and is no number", variable)
	}
	// The kernel named this process after the descriptor that its program was started from.
	_ = os.WriteFile("/proc/self/comm", []byte("meshnode"), 0)
	unix.CloseOnExec(fd)
	conn, err := connOf(os.NewFile(uintptr(fd), "keeper"))
	if err != nil {
		return nil, err
	}
	c := newClient(conn)
	if valueOf(environ, standbyVariable) != "" {
		if _, err := c.ask(packet{Kind: kindStandby}, nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func newClient(conn *net.UnixConn) *Client {
	c := &Client{conn: conn, yield: make(chan struct{}), waiting: make(map[uint64]func(packet, []int)), ends: make(map[int]chan struct{}),
		pings: make(chan struct{}, 1)}
	c.wg.Go(c.read)
	c.wg.Go(c.pong)
	return c
}

// pong answers pings. It is not for read to do: what reads must never wait for the keeper to read.
func (c *Client) pong() {
	for range c.pings {
		_ = send(c.conn, packet{Kind: kindPong}, nil) // the keeper sees by itself when this end is gone
	}
}

// Close ends the connection; the keeper keeps what it has.
func (c *Client) Close() {
	c.conn.Close()
	c.wg.Wait()
}

// read takes what the keeper says, until the connection ends.
func (c *Client) read() {
	defer close(c.pings)
	var once sync.Once
	for {
		p, fds, err := receive(c.conn)
		if err != nil {
			c.lost()
			return
		}
		switch p.Kind {
		case kindAnswer, kindEntry:
			c.mu.Lock()
			take := c.waiting[p.ID]
			if p.Kind == kindAnswer {
				delete(c.waiting, p.ID)
			}
			c.mu.Unlock()
			if take != nil {
				take(p, fds)
				continue
			}
		case kindEnded:
			c.mu.Lock()
			c.end(p.PID)
			c.mu.Unlock()
		case kindYield:
			once.Do(func() { close(c.yield) })
		case kindPing:
			select {
			case c.pings <- struct{}{}:
			default: // one answer does for both
			}
		}
		closeAll(fds)
	}
}

func (c *Client) lost() {
	c.mu.Lock()
	waiting := c.waiting
	c.waiting, c.gone = nil, true
	c.mu.Unlock()
	for _, take := range waiting {
		take(packet{Kind: kindAnswer, Err: ErrGone.Error()}, nil)
	}
}

// end notes that a worker has ended. The lock is held.
func (c *Client) end(pid int) {
	ch := c.ends[pid]
	if ch == nil {
		ch = make(chan struct{})
		c.ends[pid] = ch
	}
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// ask sends a request and waits for its answer.
func (c *Client) ask(p packet, fds []int) (packet, error) {
	done := make(chan packet, 1)
	err := c.request(p, fds, func(a packet, more []int) {
		closeAll(more)
		done <- a
	})
	if err != nil {
		return packet{}, err
	}
	return settle(<-done)
}

func settle(a packet) (packet, error) {
	switch a.Err {
	case "":
		return a, nil
	case ErrGone.Error():
		return a, ErrGone
	}
	return a, errors.New(a.Err)
}

func (c *Client) request(p packet, fds []int, take func(packet, []int)) error {
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return ErrGone
	}
	c.next++
	p.ID = c.next
	c.waiting[p.ID] = take
	c.mu.Unlock()
	if err := send(c.conn, p, fds); err != nil {
		c.mu.Lock()
		delete(c.waiting, p.ID)
		c.mu.Unlock()
		return err
	}
	return nil
}

// Start forks a worker and returns its number. The descriptors stay the caller's; those behind the worker's own (and its cgroup's) are
// kept under s.Name, and are to be dropped when the worker is done with.
func (c *Client) Start(s Start, fds []int) (int, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	a, err := c.ask(packet{Kind: kindStart, Body: body}, fds)
	return a.PID, err
}

// Ended returns a channel that is closed when the worker has ended. It is not reaped before Reap.
func (c *Client) Ended(pid int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends[pid] == nil {
		c.ends[pid] = make(chan struct{})
	}
	return c.ends[pid]
}

// Reap takes an ended worker off the kernel's table: from then on its number may be another's.
func (c *Client) Reap(pid int) (unix.WaitStatus, error) {
	a, err := c.ask(packet{Kind: kindReap, PID: pid}, nil)
	c.mu.Lock()
	delete(c.ends, pid)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	var status uint32
	err = json.Unmarshal(a.Body, &status)
	return unix.WaitStatus(status), err
}

// GroupLives reaps what has ended of the group of a reaped worker, and reports whether any of it lives.
func (c *Client) GroupLives(pgid int) bool {
	a, err := c.ask(packet{Kind: kindGroup, PID: pgid}, nil)
	return err == nil && string(a.Body) == "true"
}

// Hold keeps duplicates of descriptors under a name, in the place of what was kept under it.
func (c *Client) Hold(name string, meta json.RawMessage, fds ...int) error {
	_, err := c.ask(packet{Kind: kindHold, Name: name, Body: meta}, fds)
	return err
}

// Update changes what is known of a kept name.
func (c *Client) Update(name string, meta json.RawMessage) error {
	_, err := c.ask(packet{Kind: kindUpdate, Name: name, Body: meta}, nil)
	return err
}

// Holds reports whether a name is kept.
func (c *Client) Holds(name string) (bool, error) {
	a, err := c.ask(packet{Kind: kindHas, Name: name}, nil)
	return string(a.Body) == "true", err
}

// Drop forgets a name and closes the keeper's descriptors of it.
func (c *Client) Drop(name string) error {
	_, err := c.ask(packet{Kind: kindDrop, Name: name}, nil)
	return err
}

// Kept returns all that is kept, oldest first, with descriptors that are the caller's.
func (c *Client) Kept() ([]Kept, error) {
	var all []Kept
	done := make(chan packet, 1)
	err := c.request(packet{Kind: kindList}, nil, func(p packet, fds []int) {
		if p.Kind == kindAnswer {
			done <- p
			return
		}
		var e entry
		_ = json.Unmarshal(p.Body, &e) // the keeper wrote it
		all = append(all, Kept{Name: p.Name, Meta: e.Meta, FDs: fds, PID: p.PID, Ended: e.Ended})
		if e.Ended {
			c.mu.Lock()
			c.end(p.PID)
			c.mu.Unlock()
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err = settle(<-done); err != nil {
		for _, k := range all {
			closeAll(k.FDs)
		}
		return nil, err
	}
	return all, nil
}
