package datagram

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

const (
	slots   = 64   // workers that have a socket of their own on one address (count)
	buckets = 1024 // parts of a client's hash, each of which is one worker's (count); a power of two
)

// mdHash is where the kernel's hash of both addresses is in struct sk_reuseport_md.
const mdHash = 32

// freeWithin is how long the kernel may take to forget the sockets of a former run of the node. A socket is in one table only.
const freeWithin = time.Second

// errKernel is why workers have a socket in common.
var errKernel = errors.New("the kernel or this user's rights do not allow to choose among sockets")

// selector chooses, in the kernel and for each datagram, which socket of an address gets it: that of the worker to which the bucket of the client
// belongs, or the node's own where there is none.
type selector struct {
	socks *ebpf.Map // 0 is the node's own, i+1 that of slot i
	owner *ebpf.Map // of each bucket: the place in socks
	prog  *ebpf.Program
	wrote owners
}

// owners are the places of all buckets.
type owners [buckets]uint32

// newSelector loads the program. Errors: errKernel.
func newSelector() (s *selector, err error) {
	s = &selector{}
	defer func() {
		if err != nil {
			s.close()
			s, err = nil, fmt.Errorf("%w: %w", errKernel, err)
		}
	}()
	if s.socks, err = ebpf.NewMap(&ebpf.MapSpec{Name: "meshnode_socks", Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: slots + 1}); err != nil {
		return s, err
	}
	if s.owner, err = ebpf.NewMap(&ebpf.MapSpec{Name: "meshnode_owner", Type: ebpf.Array, KeySize: 4, ValueSize: 4 * buckets, MaxEntries: 1}); err != nil {
		return s, err
	}
	s.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "meshnode_client", Type: ebpf.SkReuseport, AttachType: ebpf.AttachSkReuseportSelect,
		Instructions: s.program(), License: "none"})
	return s, err
}

// program is the choice. R6 is the context, R7 the table, R8 the client's bucket.
func (s *selector) program() asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R8, asm.R6, mdHash, asm.Word),
		asm.And.Imm(asm.R8, buckets-1),
		asm.LSh.Imm(asm.R8, 2),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, s.owner.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "own"),
		asm.Add.Reg(asm.R0, asm.R8),
		asm.LoadMem(asm.R4, asm.R0, 0, asm.Word),
		asm.StoreMem(asm.RFP, -4, asm.R4, asm.Word),
	}
	p = append(append(p, s.give()...), asm.JEq.Imm(asm.R0, 0, "pass"), asm.StoreImm(asm.RFP, -4, 0, asm.Word).WithSymbol("own"))
	return append(append(p, s.give()...), asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"), asm.Return())
}

// give chooses the socket whose place is on the stack, and leaves 0 in R0 if it is there.
func (s *selector) give() asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, s.socks.FD()),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -4),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnSkSelectReuseport.Call(),
	}
}

// attach has the sockets of an address chosen by the program, whatever chose before, and makes this one the node's own.
func (s *selector) attach(own int) error {
	if err := unix.SetsockoptInt(own, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, s.prog.FD()); err != nil {
		return err
	}
	return s.put(0, own)
}

// put gives a socket its place. It is taken out by its close.
func (s *selector) put(place uint32, fd int) error {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(freeWithin); ; <-look.C {
		err := s.socks.Put(place, uint64(fd))
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return fmt.Errorf("put a socket where the kernel finds it: %w", err)
		}
	}
}

// write has the choice follow o.
func (s *selector) write(o owners) error {
	if o == s.wrote {
		return nil
	}
	if err := s.owner.Put(uint32(0), o); err != nil {
		return fmt.Errorf("tell the kernel whose clients are whose: %w", err)
	}
	s.wrote = o
	return nil
}

func (s *selector) close() {
	for _, m := range []*ebpf.Map{s.socks, s.owner} {
		if m != nil {
			m.Close()
		}
	}
	if s.prog != nil {
		s.prog.Close()
	}
}
