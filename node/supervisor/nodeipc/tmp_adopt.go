package nodeipc

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"time"
)

func Inherited(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "ipc")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}
func Adopt(conn *net.UnixConn, leftover []byte, held []string, seq int64, h Handler) *Channel {
	c := New(conn, h)
	for _, k := range held {
		c.held[k] = true
	}
	c.seq = seq
	return c
}
func (c *Channel) Detach(ctx context.Context) (leftover []byte, held []string, err error) {
	return nil, nil, c.Close()
}
func (c *Channel) Send(raw json.RawMessage) error { return nil }

func (c *Channel) Ping() error           { return nil }
func (c *Channel) Silent() time.Duration { return 0 }
