package mesh

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net"
	"sync"
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

// follow passes records to the keeper until the stream ends, falls silent for too long, or ctx ends. It closes c and waits for its reader.
func (l *link) follow(parent context.Context, c net.Conn) (alive bool) {
	ctx, cancel := context.WithCancel(parent)
	p := &pulse{link: l, done: ctx.Done(), silence: time.NewTimer(firstRecord)}
	defer p.silence.Stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := p.read(c)
		l.log.Debug("a load stream ended", "peer", l.peer, "err", err)
	}()
	defer func() {
		cancel()
		_ = c.Close()
		<-ended
		if alive = p.alive; p.up {
			l.tell(linkEvent{link: l}, parent.Done())
		}
	}()
	for {
		select {
		case <-ended:
			return alive
		case <-p.silence.C:
			if p.silent() {
				l.log.Debug("a load stream is silent", "peer", l.peer)
				return alive
			}
		case <-ctx.Done():
			return alive
		}
	}
}

// pulse is the state of one stream. Records go to the keeper from the goroutine that reads them: there are twenty a second from each peer, and
// to wake another goroutine for each would cost more than all else that is done with it.
type pulse struct {
	link    *link
	done    <-chan struct{}
	silence *time.Timer // fires when the stream has been silent for too long

	mu    sync.Mutex // held while the keeper is told, so that it hears of ups and downs in their order
	alive bool       // a record has come
	up    bool
	last  uint32 // the number of the last record
	at    time.Time
}

// record takes in one record. The same record again is a heartbeat only.
func (p *pulse) record(l Load, from int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = time.Now()
	p.silence.Reset(linkDead)
	news := !p.up || l.Seq != p.last
	p.alive, p.up, p.last = true, true, l.Seq
	if news {
		p.link.tell(linkEvent{link: p.link, up: true, load: &l, from: from, at: p.at}, p.done)
	}
}

// silent is called when the timer has fired, and reports whether the stream is to be given up.
func (p *pulse) silent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive && time.Since(p.at) < linkDead {
		return false // a record came in between, and has set the timer anew
	}
	if !p.up {
		return true
	}
	p.up = false
	p.link.tell(linkEvent{link: p.link}, p.done)
	p.silence.Reset(linkAbandoned - linkDead)
	return false
}

// tell hands an event to the keeper, unless done ends first: the keeper has then dropped the link.
func (l *link) tell(e linkEvent, done <-chan struct{}) {
	select {
	case l.events <- e:
	case <-done:
	}
}

// read takes in records until the stream ends, and returns why it did.
func (p *pulse) read(c net.Conn) error {
	r := bufio.NewReader(c)
	buf := make([]byte, maxLoadBytes)
	from, err := readHello(r, buf, p.link.peer)
	if err != nil {
		return err
	}
	for {
		payload, err := readFrame(r, buf)
		if err != nil {
			return err
		}
		l, err := DecodeLoad(payload)
		if err != nil {
			return err
		}
		p.record(l, from)
	}
}
