package proxy

import (
	"errors"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"meshnode/balancer/reuseport"
)

// shut is the base of a worker that is not to be chosen.
const shut = int32(0x7fffffff)

// Places in struct sk_reuseport_md and in the value of the table of bases.
const (
	mdMigrating = 48
	offsetLimit = 4
	offsetSlots = 8
	offsetSlot  = offsetSlots + 4
)

// selector chooses, in the kernel and for each new connection, which socket of a listener's group gets it: that of the worker with the
// smallest load, or the node's own where no worker is to be chosen. The load is a base that the node writes, plus what was assigned
// since the node began to count: cumulative figures, so that no report races with an assignment.
//
// When a socket of the group is closed, the connections that still wait in it move to the node's own.
type selector struct {
	socks reuseport.Sockets
	bases *ebpf.Map
	given *ebpf.Map // how many connections were assigned to each slot, written by the kernel alone
	prog  *ebpf.Program
	wrote table
}

// table is what the node writes. N bounds the slots that are looked at; where all have Limit open, the node gets the connection.
type table struct {
	N     uint32
	Limit int32
	Slots [reuseport.Slots]entry
}

// entry is one slot. Slot is its own number: the kernel's check of programs would follow each value of a number that it knows by itself.
type entry struct {
	Base int32
	Slot uint32
}

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
	if s.bases, err = ebpf.NewMap(&ebpf.MapSpec{Name: "meshnode_bases", Type: ebpf.Array, KeySize: 4, ValueSize: offsetSlots + 8*reuseport.Slots, MaxEntries: 1}); err != nil {
		return s, err
	}
	if s.given, err = ebpf.NewMap(&ebpf.MapSpec{Name: "meshnode_given", Type: ebpf.Array, KeySize: 4, ValueSize: 8 * reuseport.Slots, MaxEntries: 1}); err != nil {
		return s, err
	}
	s.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Name: "meshnode_select", Type: ebpf.SkReuseport, AttachType: ebpf.AttachSkReuseportSelectOrMigrate,
		Instructions: s.program(), License: "none"})
	return s, err
}

// program is the choice. Among equals a random byte decides. Registers that last: R6 the context, R7 the bases, R8 what was given.
func (s *selector) program() asm.Instructions {
	p := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R0, asm.R6, mdMigrating, asm.DWord),
		asm.JNE.Imm(asm.R0, 0, "own"), // its socket was closed
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
	}
	p = append(append(append(p, look(s.bases, asm.R7)...), look(s.given, asm.R8)...), least()...)
	p = append(p,
		asm.And.Imm(asm.R2, reuseport.Slots-1),
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, 1),
		asm.StoreMem(asm.RFP, -4, asm.R4, asm.Word),
		asm.LSh.Imm(asm.R2, 3),
		asm.Add.Reg(asm.R8, asm.R2),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R8, asm.R1, asm.DWord),
	)
	return append(p, s.socks.Choose()...)
}

// look leaves in a register where the value of a table is, whose key is on the stack.
func look(m *ebpf.Map, into asm.Register) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "own"),
		asm.Mov.Reg(into, asm.R0),
	}
}

// least leaves in the last bits of R2 the slot with the least load. The branch of a better slot jumps away, and back: in that order the kernel's
// check of the program finds soon that it has seen all there is.
func least() asm.Instructions {
	return asm.Instructions{
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.LoadMem(asm.R5, asm.R7, 0, asm.Word), // how many slots there are
		asm.JEq.Imm(asm.R5, 0, "own"),
		asm.Mov.Imm(asm.R1, 0),                        // the slot to look at
		asm.LoadImm(asm.R3, math.MaxInt64, asm.DWord), // the best one: its load, a random byte and its number

		asm.Mov.Reg(asm.R2, asm.R1).WithSymbol("next"),
		asm.LSh.Imm(asm.R2, 3),
		asm.Mov.Reg(asm.R4, asm.R7),
		asm.Add.Reg(asm.R4, asm.R2),
		asm.LoadMem(asm.R0, asm.R4, offsetSlots, asm.Word),
		asm.JEq.Imm(asm.R0, shut, "skip"),
		asm.Add.Reg(asm.R2, asm.R8),
		asm.LoadMem(asm.R2, asm.R2, 0, asm.Word),
		asm.Add.Reg(asm.R0, asm.R2),
		asm.LSh.Imm(asm.R0, 32), // both wrap around, their sum is small
		asm.ArSh.Imm(asm.R0, 16),
		asm.LoadMem(asm.R2, asm.R4, offsetSlot, asm.Word),
		asm.Or.Reg(asm.R0, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mul.Imm(asm.R2, 7),
		asm.And.Imm(asm.R2, 15),
		asm.Mov.Reg(asm.R4, asm.R9),
		asm.RSh.Reg(asm.R4, asm.R2),
		asm.And.Imm(asm.R4, 0xff),
		asm.LSh.Imm(asm.R4, 8),
		asm.Or.Reg(asm.R0, asm.R4),
		asm.JSLT.Reg(asm.R0, asm.R3, "better"),
		asm.Add.Imm(asm.R1, 1).WithSymbol("skip"),
		asm.JGE.Imm(asm.R1, reuseport.Slots, "looked"),
		asm.JLT.Reg(asm.R1, asm.R5, "next"),
		asm.Ja.Label("looked"),
		asm.Mov.Reg(asm.R3, asm.R0).WithSymbol("better"),
		asm.Ja.Label("skip"),
		asm.Mov.Reg(asm.R2, asm.R3).WithSymbol("looked"),
		asm.LoadMem(asm.R4, asm.R7, offsetLimit, asm.Word),
		asm.LSh.Imm(asm.R4, 32),
		asm.ArSh.Imm(asm.R4, 16),
		asm.JSGE.Reg(asm.R3, asm.R4, "own"),
	}
}

// write has the choice follow t.
func (s *selector) write(t table) error {
	if t == s.wrote {
		return nil
	}
	if err := s.bases.Put(uint32(0), t); err != nil {
		return fmt.Errorf("tell the kernel how busy the workers are: %w", err)
	}
	s.wrote = t
	return nil
}

// assigned tells how many connections each slot was given so far.
func (s *selector) assigned() (out [reuseport.Slots]uint64, err error) {
	err = s.given.Lookup(uint32(0), &out)
	return out, err
}

func (s *selector) close() error {
	errs := []error{s.socks.Close()}
	for _, m := range []*ebpf.Map{s.bases, s.given} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if s.prog != nil {
		errs = append(errs, s.prog.Close())
	}
	return errors.Join(errs...)
}
