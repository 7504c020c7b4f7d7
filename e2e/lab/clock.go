package lab

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNoClock says that a process's clock cannot be changed here.
var ErrNoClock = errors.New("this machine has no vDSO that is known here")

// JumpClock has one running process see the wall clock an offset away from the machine's, from now on; 0 puts it right. What tells time that has
// passed is left alone, as when somebody sets a server's clock. The functions by which the process asks the kernel for the time without
// a system call are replaced in its own copy of them, by ones that make the call and add the offset.
func JumpClock(pid int, offset time.Duration) error {
	if runtime.GOARCH != "amd64" {
		return ErrNoClock
	}
	from, size, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open the memory of process %d: %w", pid, err)
	}
	defer mem.Close()
	image, err := elf.NewFile(io.NewSectionReader(mem, from, size))
	if err != nil {
		return fmt.Errorf("read the vDSO of process %d: %w", pid, err)
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("read the vDSO of process %d: %w", pid, err)
	}
	resume, err := halt(pid, from, size)
	if err != nil {
		return err
	}
	defer resume()
	for _, s := range symbols {
		code := replacement(s.Name, int32(offset/time.Second))
		if code == nil {
			continue
		}
		if _, err := mem.WriteAt(code, from+int64(s.Value)); err != nil {
			return fmt.Errorf("change %s of process %d: %w", s.Name, pid, err)
		}
	}
	return nil
}

// replacement is the machine code of a function that makes the call and adds seconds where it was asked for the wall clock; nil for other functions.
func replacement(name string, seconds int32) []byte {
	add := func(code ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32(code, uint32(seconds)), 0xc3)
	} // ..., seconds; ret
	call := func(number byte) []byte { return []byte{0xb8, number, 0, 0, 0, 0x0f, 0x05} } // mov eax, number; syscall
	switch name {
	case "__vdso_clock_gettime": // test edi, edi; jnz ret; add qword [rsi], seconds
		return add(append(call(syscall.SYS_CLOCK_GETTIME), 0x85, 0xff, 0x75, 0x07, 0x48, 0x81, 0x06)...)
	case "__vdso_gettimeofday": // test rdi, rdi; jz ret; add qword [rdi], seconds
		return add(append(call(syscall.SYS_GETTIMEOFDAY), 0x48, 0x85, 0xff, 0x74, 0x07, 0x48, 0x81, 0x07)...)
	case "__vdso_time": // add rax, seconds; the other place for it is not used by anybody here
		return add(append(call(syscall.SYS_TIME), 0x48, 0x05)...)
	}
	return nil
}

// vdso is where a process has it.
func vdso(pid int) (from, size int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(maps)) {
		var to int64
		if !strings.Contains(line, "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, 0, fmt.Errorf("look at process %d: %w", pid, err)
		}
		return from, to - from, nil
	}
	return 0, 0, ErrNoClock
}

// halt stops a process while none of its threads is in the given part of its memory, and returns what lets it go on.
func halt(pid int, from, size int64) (resume func(), err error) {
	resume = func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	for range 100 {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return nil, fmt.Errorf("stop process %d: %w", pid, err)
		}
		for range 100 {
			time.Sleep(time.Millisecond)
			at, err := places(pid)
			if err != nil {
				continue // one of its threads runs still
			}
			if !slices.ContainsFunc(at, func(pc int64) bool { return pc >= from && pc < from+size }) {
				return resume, nil
			}
			break
		}
		resume()
	}
	return nil, fmt.Errorf("process %d does not stop outside of its vDSO", pid)
}

// places are where the threads of a stopped process stand. It fails while one of them runs.
func places(pid int) ([]int64, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/syscall", pid))
	if err != nil || len(threads) == 0 {
		return nil, ErrNone
	}
	var out []int64
	for _, t := range threads {
		raw, err := os.ReadFile(t)
		f := strings.Fields(string(raw))
		if err != nil || len(f) < 3 {
			return nil, ErrNone
		}
		pc, err := strconv.ParseInt(strings.TrimPrefix(f[len(f)-1], "0x"), 16, 64)
		if err != nil {
			return nil, ErrNone
		}
		out = append(out, pc)
	}
	return out, nil
}
