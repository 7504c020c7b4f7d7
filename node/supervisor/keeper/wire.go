package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of one packet.
const (
	maxInline   = 48 << 10         // bytes of a body that travel in the packet; a larger one is passed as a file in memory
	maxBody     = 4 << 20          // bytes
	maxFiles    = 32               // descriptors of one packet (count)
	sendLimit   = 10 * time.Second // the other side reads at once, or is stuck
	packetBytes = 64 << 10
)

// kind says what a packet is about.
type kind string

// What the node asks of the keeper, and what the keeper tells the node.
const (
	kindStart   kind = "start"   // fork a worker
	kindReap    kind = "reap"    // take an ended worker off the kernel's table
	kindGroup   kind = "group"   // reap what has ended of a process group, tell whether any of it lives
	kindHas     kind = "has"     // tell whether a name is kept
	kindHold    kind = "hold"    // keep descriptors under a name
	kindUpdate  kind = "update"  // change what is known of a name
	kindDrop    kind = "drop"    // forget a name and close its descriptors
	kindList    kind = "list"    // hand over all that is kept
	kindReady   kind = "ready"   // the node serves
	kindUpgrade kind = "upgrade" // replace the node by another binary
	kindOutcome kind = "outcome" // what came out of the last upgrade
	kindStandby kind = "standby" // a successor is able to start
	kindYielded kind = "yielded" // the node has let go of everything
	kindAnswer  kind = "answer"
	kindEntry   kind = "entry" // one kept name, of several that answer a list
	kindEnded   kind = "ended" // a worker's process has ended
	kindYield   kind = "yield" // let go of everything: a successor waits
	kindPing    kind = "ping"
	kindPong    kind = "pong"
)

// packet is one message.
type packet struct {
	ID   uint64          `json:"id,omitempty"`
	Kind kind            `json:"kind"`
	Name string          `json:"name,omitempty"`
	PID  int             `json:"pid,omitempty"`
	Err  string          `json:"err,omitempty"`
	Big  bool            `json:"big,omitempty"` // the body is in the last descriptor
	Body json.RawMessage `json:"body,omitempty"`
}

// pair makes the two ends of a connection between keeper and node. Packets keep their borders.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the keeper's socket: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "keeper")
	ours, err = connOf(os.NewFile(uintptr(fds[0]), "keeper"))
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// connOf makes a connection of an inherited descriptor, which it consumes.
func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn duplicates
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use the keeper's socket: %w", err)
	}
	uc, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("use the keeper's socket: it is no Unix socket")
	}
	return uc, nil
}

// send writes one packet with its descriptors, which stay the caller's.
func send(c *net.UnixConn, p packet, fds []int) error {
	if len(p.Body) > maxBody {
		return fmt.Errorf("a message of %d bytes to or from the keeper is too large", len(p.Body))
	}
	if len(p.Body) > maxInline {
		fd, err := inMemory(p.Body)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		p.Big, p.Body, fds = true, nil, append(fds[:len(fds):len(fds)], fd)
	}
	if len(fds) > maxFiles {
		return fmt.Errorf("%d descriptors in one message to or from the keeper", len(fds))
	}
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode a message to or from the keeper: %w", err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_ = c.SetWriteDeadline(time.Now().Add(sendLimit))
	if _, _, err := c.WriteMsgUnix(b, oob, nil); err != nil {
		return fmt.Errorf("write to or from the keeper: %w", err)
	}
	return nil
}

func inMemory(b []byte) (int, error) {
	fd, err := unix.MemfdCreate("meshnode", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("make a file in memory: %w", err)
	}
	for done := 0; done < len(b); {
		n, err := unix.Write(fd, b[done:])
		if err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("fill a file in memory: %w", err)
		}
		done += n
	}
	return fd, nil
}

// receive reads one packet. The descriptors are the caller's: bare numbers, because a file in Go's poller would wake this process
// whenever anything happens on it. The error is io.EOF when the other side is gone.
func receive(c *net.UnixConn) (packet, []int, error) {
	b, oob := make([]byte, packetBytes), make([]byte, unix.CmsgSpace(4*(maxFiles+1)))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return packet{}, nil, err
	}
	if n == 0 {
		return packet{}, nil, io.EOF
	}
	fds := rightsOf(oob[:oobn])
	var p packet
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message to or from the keeper was cut")
	} else {
		err = json.Unmarshal(b[:n], &p)
	}
	if err == nil && p.Big {
		fds, err = p.unpack(fds)
	}
	if err != nil {
		closeAll(fds)
		return packet{}, nil, fmt.Errorf("read to or from the keeper: %w", err)
	}
	return p, fds, nil
}

// unpack reads the body from the last descriptor and returns the others.
func (p *packet) unpack(fds []int) ([]int, error) {
	if len(fds) == 0 {
		return nil, errors.New("the body is missing")
	}
	last := fds[len(fds)-1]
	fds = fds[:len(fds)-1]
	f := os.NewFile(uintptr(last), "memory") // no file in the poller: it is plain memory
	defer f.Close()
	body, err := io.ReadAll(io.NewSectionReader(f, 0, maxBody))
	p.Body, p.Big = body, false
	return fds, err
}

func rightsOf(oob []byte) []int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var out []int
	for _, m := range msgs {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			out = append(out, fds...)
		}
	}
	return out
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
