package mesh

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Times of the dialing side.
const (
	// linkDead is the silence after which a stream counts as dead: three records missed.
	linkDead = 150 * time.Millisecond
	// linkAbandoned is the silence after which a stream is closed and dialed anew.
	linkAbandoned = 5 * time.Second
	// firstRecord bounds the time from the connection to the first record.
	firstRecord = 2 * time.Second
	// dialLimit bounds one dial.
	dialLimit = 2 * time.Second
	redialMin = 100 * time.Millisecond
	redialMax = 2 * time.Second
)

// linkEvent is what a link tells the keeper.
type linkEvent struct {
	link *link
	up   bool // the stream is alive
	load *Load
	from int64     // when the process that sent the record started
	at   time.Time // when the record arrived
}

// link follows one peer's load stream and dials it again when it ends.
type link struct {
	peer, addr string
	dial       Dialer
	events     chan<- linkEvent
	meter      *meter
	log        hclog.Logger
	cancel     context.CancelFunc
}

// run dials and follows until ctx ends.
func (l *link) run(ctx context.Context) {
	wait := redialMin
	for {
		if l.once(ctx) {
			wait = redialMin
		}
		// A quarter of jitter, so that the peers of a node that comes back do not all dial at once.
		if !pause(ctx, wait-wait/8+rand.N(wait/4)) {
			return
		}
		wait = min(2*wait, redialMax)
		l.meter.redial()
	}
}

// once dials and follows one stream to its end; it reports whether a record came.
func (l *link) once(ctx context.Context) bool {
	dialCtx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	c, err := l.dial(dialCtx, l.addr)
	if err != nil {
		l.log.Debug("cannot open a load stream", "peer", l.peer, "addr", l.addr, "err", err)
		return false
	}
	return l.follow(ctx, c)
}

// frame is one record as the reader saw it, or the error that ended the stream.
type frame struct {
	load Load
	from int64
	at   time.Time
	err  error
}

// follow passes records to the keeper until the stream ends, falls silent for too long, or ctx ends. It closes c and waits for its reader.
func (l *link) follow(parent context.Context, c net.Conn) (alive bool) {
	ctx, cancel := context.WithCancel(parent)
	frames := make(chan frame)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.read(ctx, c, frames)
	}()
	up := false
	defer func() {
		cancel()
		_ = c.Close()
		<-ended
		if up {
			l.tell(linkEvent{link: l}, parent.Done())
		}
	}()
	silence := time.NewTimer(firstRecord)
	defer silence.Stop()
	var last uint32
	for {
		select {
		case f := <-frames:
			if f.err != nil {
				l.log.Debug("a load stream ended", "peer", l.peer, "err", f.err)
				return alive
			}
			silence.Reset(linkDead)
			// The same record again is a heartbeat only.
			if !up || f.load.Seq != last {
				l.tell(linkEvent{link: l, up: true, load: &f.load, from: f.from, at: f.at}, ctx.Done())
			}
			alive, up, last = true, true, f.load.Seq
		case <-silence.C:
			if !up {
				l.log.Debug("a load stream is silent", "peer", l.peer)
				return alive
			}
			up = false
			l.tell(linkEvent{link: l}, ctx.Done())
			silence.Reset(linkAbandoned - linkDead)
		case <-ctx.Done():
			return alive
		}
	}
}

// tell hands an event to the keeper, unless done ends first: the keeper has then dropped the link.
func (l *link) tell(e linkEvent, done <-chan struct{}) {
	select {
	case l.events <- e:
	case <-done:
	}
}

// read turns the stream into frames until it ends; the last frame holds the error.
func (l *link) read(ctx context.Context, c net.Conn, out chan<- frame) {
	r := bufio.NewReader(c)
	buf := make([]byte, maxLoadBytes)
	from, err := readHello(r, buf, l.peer)
	for err == nil {
		var payload []byte
		if payload, err = readFrame(r, buf); err != nil {
			break
		}
		f := frame{from: from, at: time.Now()}
		if f.load, err = DecodeLoad(payload); err != nil {
			break
		}
		select {
		case out <- f:
		case <-ctx.Done():
			return
		}
	}
	select {
	case out <- frame{err: err}:
	case <-ctx.Done():
	}
}
