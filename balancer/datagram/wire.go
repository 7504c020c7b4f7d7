package datagram

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// What the two sides of a stream say to each other. A frame is a kind, a session's number, a length, and so many bytes; numbers are big-endian. The side that
// opened the stream numbers the sessions.
const (
	frameOpen  byte = 1 // the session's client, app and key; from the side that opened the stream
	frameData  byte = 2 // a datagram, either way
	frameClose byte = 3 // the session is over: from the other side, that nobody serves it
	framePing  byte = 4 // is somebody there?
	framePong  byte = 5

	frameHead = 1 + 4 + 2
	maxName   = 255
)

// Limits of a stream.
const (
	queueFrames  = 512                     // frames that wait to be written (count); further ones are dropped
	pingEvery    = 500 * time.Millisecond  // from the side that opened it
	silenceLimit = 1500 * time.Millisecond // after which a peer that answers no ping is taken for dead
	writeLimit   = silenceLimit
)

var errFrame = errors.New("not a frame of datagrams")

// head begins a frame with a payload of n bytes.
func head(kind byte, number uint32, n int) []byte {
	b := make([]byte, frameHead, frameHead+n)
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], number)
	binary.BigEndian.PutUint16(b[5:], uint16(n))
	return b
}

func dataFrame(number uint32, payload []byte) []byte {
	return append(head(frameData, number, len(payload)), payload...)
}

// opening is what a session begins with.
type opening struct {
	id     socketID
	client netip.AddrPort
}

func (o opening) frame(number uint32) []byte {
	app, key := o.id.app[:min(len(o.id.app), maxName)], o.id.key[:min(len(o.id.key), maxName)]
	b := head(frameOpen, number, 16+2+1+len(app)+1+len(key))
	a := o.client.Addr().As16()
	b = append(b, a[:]...)
	b = binary.BigEndian.AppendUint16(b, o.client.Port())
	b = append(append(b, byte(len(app))), app...)
	return append(append(b, byte(len(key))), key...)
}

func readOpening(b []byte) (opening, error) {
	if len(b) < 18 {
		return opening{}, errFrame
	}
	o := opening{client: netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[:16])).Unmap(), binary.BigEndian.Uint16(b[16:]))}
	b = b[18:]
	for _, to := range []*string{&o.id.app, &o.id.key} {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return opening{}, errFrame
		}
		end := 1 + int(b[0])
		*to, b = string(b[1:end]), b[end:]
	}
	if len(b) > 0 || o.id.app == "" {
		return opening{}, errFrame
	}
	return o, nil
}

// stream is one side of a connection to a peer.
type stream struct {
	s    *Server
	out  chan []byte
	done chan struct{}
	once sync.Once
}

func newStream(s *Server) stream {
	return stream{s: s, out: make(chan []byte, queueFrames), done: make(chan struct{})}
}

// put has a frame written, or drops it.
func (t *stream) put(frame []byte) bool {
	select {
	case t.out <- frame:
		return true
	default:
		t.s.stats.noRoom.Add(1)
		return false
	}
}

// write writes frames until the stream is done or fails; each is called between, if set, with what the ticker says.
func (t *stream) write(c net.Conn, tick <-chan time.Time, each func()) error {
	w := bufio.NewWriterSize(c, 64<<10)
	for {
		select {
		case frame := <-t.out:
			_ = c.SetWriteDeadline(time.Now().Add(writeLimit))
			_, err := w.Write(frame)
			for err == nil && len(t.out) > 0 {
				_, err = w.Write(<-t.out)
			}
			if err == nil {
				err = w.Flush()
			}
			if err != nil {
				return fmt.Errorf("write to a peer: %w", err)
			}
		case <-tick:
			each()
		case <-t.done:
			return nil
		}
	}
}

// readFrames calls take for each frame until it fails, or nothing comes for so long. The payload is take's until it returns.
func readFrames(c net.Conn, limit time.Duration, take func(kind byte, number uint32, payload []byte) error) error {
	r := bufio.NewReaderSize(c, 64<<10)
	h, buf := make([]byte, frameHead), make([]byte, 1<<16)
	for {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		if _, err := io.ReadFull(r, h); err != nil {
			return fmt.Errorf("read from a peer: %w", err)
		}
		payload := buf[:binary.BigEndian.Uint16(h[5:])]
		if _, err := io.ReadFull(r, payload); err != nil {
			return fmt.Errorf("read from a peer: %w", err)
		}
		if err := take(h[0], binary.BigEndian.Uint32(h[1:]), payload); err != nil {
			return err
		}
	}
}
