package proxy

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"meshnode/balancer"
)

// Places in struct inet_diag_msg.
const (
	diagStateOffset = 1
	diagPortOffset  = 4
	diagInodeOffset = 68
)

// Recover claims a worker for every client connection that its process, or one that it started, holds on the app's addresses: a former run
// of the node gave them to it. Without it they would not count, and a drain would not wait for them. reports is set where the process itself
// tells what it has: then only those that it started are looked at.
func (s *Server) Recover(app, worker string, pid int, reports bool) error {
	ports := make(map[uint16]bool)
	for _, l := range s.Listeners() {
		if l.App == app {
			ports[l.Addr.Port()] = true
		}
	}
	if len(ports) > 0 && s.o.PeerPort != 0 {
		ports[s.o.PeerPort] = true
	}
	held := make(map[uint32]bool)
	socketsOf(pid, held, reports)
	if len(ports) == 0 || len(held) == 0 {
		return nil
	}
	msgs, err := dumpAll()
	if err != nil {
		return fmt.Errorf("list the connections of worker %s: %w", worker, err)
	}
	picker := s.o.Balancer.Picker(app)
	for _, m := range msgs {
		port := binary.BigEndian.Uint16(m[diagPortOffset:])
		if m[diagStateOffset] == tcpListen || !ports[port] || !held[binary.NativeEndian.Uint32(m[diagInodeOffset:])] {
			continue
		}
		if s.tracker.has(cookieOf(m)) {
			continue // the worker was routed before
		}
		r := picker.Claim(worker, time.Now())
		s.stats.accepted.Add(1)
		s.tracker.trackCookie(worker, cookieOf(m), func() {
			s.stats.closed.Add(1)
			r.Done(balancer.DoneInfo{Now: time.Now()})
		})
	}
	// Those that ended while the list was made have to be found missing.
	s.tracker.resync()
	return nil
}

const tcpListen = 10

// socketsOf adds the inodes of the sockets that a process and its descendants hold; below leaves its own out.
func socketsOf(pid int, into map[uint32]bool, below bool) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	var fds []os.DirEntry
	if !below {
		fds, _ = os.ReadDir(filepath.Join(dir, "fd")) // one that has ended has none
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
		if err != nil {
			continue
		}
		if text, ok := strings.CutPrefix(target, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); err == nil {
				into[uint32(inode)] = true
			}
		}
	}
	lists, _ := filepath.Glob(filepath.Join(dir, "task", "[0-9]*", "children"))
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(raw)) {
			if child, err := strconv.Atoi(f); err == nil {
				socketsOf(child, into, false)
			}
		}
	}
}

// has reports whether a socket is tracked.
func (t *tracker) has(cookie uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.socks[cookie]
	return ok
}

// trackCookie is track for a socket that is known by its cookie alone.
func (t *tracker) trackCookie(owner string, cookie uint64, over func()) {
	if t.conn == nil || !t.add(cookie, tracked{owner, over}) {
		over()
	}
}
