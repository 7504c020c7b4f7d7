package datagram

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Sessions go on in another process, with the worker that they had, and with the answers that were under way.
func TestSessionsGoOnInAnotherProcess(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	ws := n.start("one", "two")
	of := make(map[string][]*net.UDPConn)
	for range 8 {
		c := n.client()
		by, _, _ := strings.Cut(b.ask(c, "first"), ":")
		of[by] = append(of[by], c)
	}
	if len(of["one"]) != 4 || len(of["two"]) != 4 {
		t.Fatalf("answered by %v", of)
	}
	waits := of["one"][0]
	if _, err := fmt.Fprint(waits, "hold it"); err != nil {
		t.Fatal(err)
	}
	var passed []Passed
	calls := 0
	if err := n.srv.Pass(3, func(some []Passed) error {
		calls++
		for _, p := range some {
			fd, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return err
			}
			p.FD = fd
			passed = append(passed, p)
		}
		return nil
	}); err != nil || calls != 3 || len(passed) != 8 {
		t.Fatalf("%d sessions in %d calls, %v", len(passed), calls, err)
	}
	other := passed[0]
	other.App, other.FD = "another", func() int { fd, _ := unix.Dup(passed[0].FD); return fd }() // which nobody serves
	n.srv.Close()
	close(ws[0].hold)
	n.srv = New(Options{Picker: n.bal.Picker, Logger: hclog.NewNullLogger(), Worker: n.worker, DialPeer: b.dial, Passed: append(passed, other)})
	if err := n.srv.Serve(app, key, n.file, false); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxPayload)
	_ = waits.SetReadDeadline(time.Now().Add(limit))
	if k, err := waits.Read(buf); err != nil || string(buf[:k]) != "one:hold it" {
		t.Errorf("%q %v", buf[:max(k, 0)], err)
	}
	for by, cs := range of {
		for _, c := range cs {
			if got := b.ask(c, "then"); got != by+":then" {
				t.Errorf("answered %q, want it of %s", got, by)
			}
		}
	}
	if st := n.srv.Stats(); st.Open != 8 {
		t.Errorf("%d sessions, want the 8: %+v", st.Open, st)
	}
}
