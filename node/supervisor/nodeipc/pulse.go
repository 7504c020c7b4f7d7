package nodeipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// maxText bounds an app message to the worker, in bytes: bulk ahead of a descriptor would make Node take it for another's.
const maxText = 8 << 10

// ErrTooLong is returned for an app message that is too large to be sent.
var ErrTooLong = errors.New("the message to the worker is too long")

// pulse is what is known of the worker's event loop; guarded by the channel's lock.
type pulse struct {
	preload bool      // the preload said hello: it answers
	pings   int64     // sent so far; a worker is asked again only once it has answered
	asked   time.Time // when the ping was sent that is not answered yet; zero = none
}

// Ping asks the worker's preload for a sign of life, unless it still owes one. A worker without the preload is not asked.
func (c *Channel) Ping() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pulse.preload || !c.pulse.asked.IsZero() {
		return nil
	}
	c.pulse.pings++
	if err := c.write(plain{Cmd: cmdPreload, Act: "ping", N: c.pulse.pings}, -1); err != nil {
		return err
	}
	c.pulse.asked = time.Now()
	return nil
}

// Silent is for how long the worker has owed the answer to a ping: its event loop is blocked. It is 0 where nothing is owed, and where the
// worker has no preload that could answer.
func (c *Channel) Silent() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulse.asked.IsZero() {
		return 0
	}
	return time.Since(c.pulse.asked)
}

// Preloaded reports whether the worker's preload has said that it is there.
func (c *Channel) Preloaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pulse.preload
}

// heard takes what the preload says. A pong of a predecessor's ping is one of a worker that lives.
func (c *Channel) heard(m inbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Act {
	case "hello":
		c.pulse.preload = true
	case "pong":
		c.pulse.preload = true
		if m.N == c.pulse.pings {
			c.pulse.asked = time.Time{}
		}
	}
}

// Send gives the app a message of its own: process.on('message') sees the JSON value raw.
func (c *Channel) Send(raw json.RawMessage) error {
	if len(raw) > maxText {
		return ErrTooLong
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return fmt.Errorf("send a message to the worker: %w", err)
	}
	if c.bare {
		return c.send(plain{Cmd: cmdPreload, Act: "message", Body: b.Bytes()})
	}
	return c.send(json.RawMessage(b.Bytes()))
}
