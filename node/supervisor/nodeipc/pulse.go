package nodeipc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

// maxText bounds an app message to the worker, in bytes: bulk ahead of a descriptor would make Node take it for another's.
const maxText = 8 << 10

// ErrTooLong is returned for an app message that is too large to be sent.
var ErrTooLong = errors.New("the message to the worker is too long")

// versionLoad is the first version of the preload that reports its load.
const versionLoad = 2

// pulse is what is known of the worker's event loop; guarded by the channel's lock.
type pulse struct {
	preload bool      // the preload said hello: it answers
	says    bool      // and it writes to a connection before the app does (OfferSaying)
	pings   int64     // sent so far; a worker is asked again only once it has answered
	asked   time.Time // when the ping was sent that is not answered yet; zero = none
	load    bool      // the preload reports its load
	beat    time.Time // when it did so last; zero = never
	loop    loop
}

// loop is how busy an event loop is.
type loop struct {
	active, idle float64 // as reported last (milliseconds)
	share        float64 // smoothed, in [0,1]
}

// loopMemory is for how long a busy moment counts in the smoothed share: after that a third of it is left.
const loopMemory = time.Second

// take takes a report in.
func (l *loop) take(active, idle float64) {
	da, di := active-l.active, idle-l.idle
	l.active, l.idle = active, idle
	if da < 0 || di < 0 || da+di <= 0 {
		return // of another process, or no time has passed
	}
	l.share = smooth(l.share, da/(da+di), time.Duration((da+di)*float64(time.Millisecond)))
}

// smooth moves a share to what it was for a while.
func smooth(share, now float64, during time.Duration) float64 {
	return share + (now-share)*-math.Expm1(-float64(during)/float64(loopMemory))
}

// quietAfter is how long a worker that reports may say nothing before its event loop counts as blocked: three reports are missing.
const quietAfter = 300 * time.Millisecond

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

// Quiet is for how long the worker has not reported, though it should have; 0 while it does, and where it never did.
func (c *Channel) Quiet() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.pulse.since(); d >= quietAfter {
		return d
	}
	return 0
}

// since is how long ago the last report came; 0 where none did.
func (p *pulse) since() time.Duration {
	if p.beat.IsZero() {
		return 0
	}
	return time.Since(p.beat)
}

// Busy is the share of the last second, about, that the event loop has worked, in [0,1]; one that is blocked works. ok is false where it is
// not known.
func (c *Channel) Busy() (share float64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.pulse.since(); d >= quietAfter {
		return smooth(c.pulse.loop.share, 1, d), true
	}
	return c.pulse.loop.share, !c.pulse.beat.IsZero()
}

// reports tells whether the process has Node's own channel and a preload that reports what it accepts by itself.
func (c *Channel) reports() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pulse.load && !c.bare
}

// Preloaded reports whether the worker's preload has said that it is there.
func (c *Channel) Preloaded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pulse.preload
}

// Speaks reports whether the worker's preload writes what OfferSaying is given.
func (c *Channel) Speaks() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pulse.says
}

// heard takes what the preload says. A pong of a predecessor's ping is one of a worker that lives.
func (c *Channel) heard(m inbound) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Act {
	case "hello":
		c.pulse.preload, c.pulse.says = true, m.Says
		c.pulse.load = m.Version >= versionLoad
	case "load":
		if m.Load != nil {
			c.pulse.load, c.pulse.beat = true, time.Now()
			c.pulse.loop.take(m.Load.Active, m.Load.Idle)
		}
	case "pong":
		c.pulse.preload, c.pulse.says = true, m.Says
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
