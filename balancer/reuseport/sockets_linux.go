package reuseport

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Slots bounds the workers that have a socket of their own on one address (count).
const Slots = 64

// ErrKernel is why no worker has a socket of its own.
var ErrKernel = errors.New("the kernel or this user's rights do not allow to choose among sockets")

// freeWithin is how long the kernel may take to forget the table of a former run of the node, once the group does not use it any more. A
// socket is in one table only; until then the kernel spreads what comes over all sockets.
const freeWithin = time.Second

// Sockets are the sockets of an address among which a program chooses: 0 is the node's own, i+1 that of slot i.
type Sockets struct{ table *ebpf.Map }

// NewSockets makes an empty table.
func NewSockets() (Sockets, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: "meshnode_socks", Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: Slots + 1})
	return Sockets{m}, err
}

// Choose ends a program: it chooses the socket whose number is on the stack, or the node's own, whose label is "own", where that is not there. R6
// is the context.
func (s Sockets) Choose() asm.Instructions {
	p := append(s.give(), asm.JEq.Imm(asm.R0, 0, "pass"), asm.StoreImm(asm.RFP, -4, 0, asm.Word).WithSymbol("own"))
	return append(append(p, s.give()...), asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), asm.Return())
}

// give chooses the socket whose number is on the stack, and leaves 0 in R0 if it is there.
func (s Sockets) give() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, s.table.FD()),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(),
	}
}

// Attach has the sockets of an address chosen by a program, whatever chose before, and makes one the node's own.
func (s Sockets) Attach(own int, prog *ebpf.Program) error {
	if err := unix.SetsockoptInt(own, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, prog.FD()); err != nil {
		return err
	}
	return s.Put(0, own)
}

// Put gives a socket its place. It is taken out by its close.
func (s Sockets) Put(place uint32, fd int) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(freeWithin); ; <-look.C {
		err := s.table.Put(place, uint64(fd))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return fmt.Errorf("put a socket where the kernel finds it: %w", err)
		}
	}
}

// Close closes the table; the kernel keeps what it uses. A nil table is closed already.
func (s Sockets) Close() error {
	if s.table == nil {
		return nil
	}
	return s.table.Close()
}
