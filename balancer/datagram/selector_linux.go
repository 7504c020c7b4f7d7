package datagram

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"meshnode/balancer/reuseport"
)

// buckets are parts of a client's hash, each of which is one worker's (count); a power of two.
const buckets = 1024

// mdHash is where the kernel's hash of both addresses is in struct sk_reuseport_md.
const mdHash = 32

// selector chooses, in the kernel and for each datagram, which socket of an address gets it: that of the worker to which the bucket of the client
// belongs, or the node's own where there is none.
type selector struct {
	socks reuseport.Sockets
	owner *ebpf.Map // of each bucket: the place in socks
	prog  *ebpf.Program
	wrote owners
}

// owners are the places of all buckets.
type owners [buckets]uint32

// newSelector loads the program. Errors: reuseport.ErrKernel.
func newSelector() (s *selector, err error) {
	s = &selector{}
	defer func() {
		if err != nil {
			s.close()
			s, err = nil, fmt.Errorf("%w: %w", reuseport.ErrKernel, err)
		}
	}()
	if s.socks, err = reuseport.NewSockets(); err != nil {
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
	return append(p, s.socks.Choose()...)
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
	_ = s.socks.Close()
	if s.owner != nil {
		s.owner.Close()
	}
	if s.prog != nil {
		s.prog.Close()
	}
}
