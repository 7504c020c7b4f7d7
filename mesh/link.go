package mesh

import (
	"bufio"
	"context"
	"fmt"
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
	// linkCut is the silence after which a peer is unreachable if its kernel has not confirmed what was sent to it when the silence began. That
	// needs two losses in a row on a way of 50 ms; a process that is held up is not taken for a way that is cut.
	linkCut = 500 * time.Millisecond
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
	cut  bool // nothing gets through, one way or the other
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
			switch p.silent() {
			case silenceBegins:
				ask(c)
			case silenceLasts:
				if !confirmed(c) {
					l.tell(linkEvent{link: l, cut: true}, ctx.Done())
				}
			case silenceEnds:
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
	long  bool   // it has been down for long enough to ask whether the way is cut
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
	p.alive, p.up, p.long, p.last = true, true, false, l.Seq
	if news {
		p.link.tell(linkEvent{link: p.link, up: true, load: &l, from: from, at: p.at}, p.done)
	}
}

// silence is what is due when the timer of a pulse has fired.
type silence uint8

const (
	silenceNone   silence = iota // a record came in between, and has set the timer anew
	silenceBegins                // the link is down: the peer is asked for a sign of life
	silenceLasts                 // there should have been one
	silenceEnds                  // the stream is to be given up
)

// silent is called when the timer has fired.
func (p *pulse) silent() silence {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.alive && time.Since(p.at) < linkDead:
		return silenceNone
	case p.up:
		p.up = false
		p.link.tell(linkEvent{link: p.link}, p.done)
		p.silence.Reset(linkCut - linkDead)
		return silenceBegins
	case p.alive && !p.long:
		p.long = true
		p.silence.Reset(linkAbandoned - linkCut)
		return silenceLasts
	}
	return silenceEnds
}

// confirmer is a stream whose kernel knows what has arrived at the other side.
type confirmer interface {
	// Unacked is how much has not, in any unit; it does not matter whether a process has read it.
	Unacked() (int, error)
}

// named is a stream that knows who is at its other end, for certain.
type named interface {
	PeerName() string
}

// ask sends something that the peer's kernel confirms and the peer throws away.
func ask(c net.Conn) {
	_ = c.SetWriteDeadline(time.Now().Add(linkCut - linkDead))
	_, _ = c.Write([]byte{0}) // on an error it is not confirmed either
}

// confirmed reports whether all that was sent has arrived, or whether that cannot be known.
func confirmed(c net.Conn) bool {
	u, ok := c.(confirmer)
	if !ok {
		return true
	}
	n, err := u.Unacked()
	return err != nil || n == 0
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
	if n, ok := c.(named); ok && n.PeerName() != p.link.peer {
		return fmt.Errorf("%w: the stream is of %q, who says to be %q", errBadStream, n.PeerName(), p.link.peer)
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
