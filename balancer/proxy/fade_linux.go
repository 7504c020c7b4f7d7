package proxy

import (
	"errors"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// fadeTime is how long a listener that fades still takes the connections whose handshakes have begun.
const fadeTime = 100 * time.Millisecond

// fade stops so that no connection which the client takes for open is lost: new ones are refused from here on, as if the socket was closed, and
// those whose handshakes are under way come in for a while yet, and are served. Where the kernel cannot tell the two apart, it is closed at once.
func (l *listener) fade() {
	if l.group == nil || l.group.refuse() != nil {
		l.stop()
		return
	}
	time.AfterFunc(fadeTime, l.stop)
}

var errNoGroup = errors.New("the kernel does not choose among sockets here")

// refuse has the kernel refuse new connections.
func (g *group) refuse() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sel == nil || g.closed {
		return errNoGroup
	}
	prog, err := refusal()
	if err != nil {
		return err
	}
	defer prog.Close() // the kernel keeps what it uses
	return unix.SetsockoptInt(g.l.number(), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, prog.FD())
}

// refusal is the choice of nobody. What waited in a socket that was closed still moves.
func refusal() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{Name: "meshnode_refuse", Type: ebpf.SkReuseport, AttachType: ebpf.AttachSkReuseportSelectOrMigrate, License: "none",
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R2, asm.R1, mdMigrating, asm.DWord),
			asm.Mov.Imm(asm.R0, 0), // SK_DROP
			asm.JEq.Imm(asm.R2, 0, "out"),
			asm.Mov.Imm(asm.R0, 1), // SK_PASS
			asm.Return().WithSymbol("out"),
		}})
}
