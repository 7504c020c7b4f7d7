package admit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a desk.
const (
	maxPlaces  = 8 // newcomers that wait or talk (count)
	maxPerHost = 2
	maxTurned  = 16 // newcomers that are being told that there is no place (count)
	waitLimit  = 10 * time.Minute
	turnLimit  = time.Second
	// redeemLimit bounds what the cluster may take to agree that a token is used.
	redeemLimit = 10 * time.Second
)

var (
	// ErrUnknownCode says that no newcomer at this desk shows that code.
	ErrUnknownCode = errors.New("no server that waits here shows that code")
	// ErrMistyped says that a newcomer shows a code that begins as the one that was typed, and ends otherwise. It shows another one now.
	ErrMistyped = errors.New("the end of the code is not what the server shows")
)

// Waiting is a newcomer that asks for admission.
type Waiting struct {
	Newcomer
	Addr  netip.Addr // Addr is where it asks from.
	Since time.Time
}

// Desk is where newcomers ask, on a server of the cluster. Make one with NewDesk and run Serve.
type Desk struct {
	key    func() string
	redeem Redeemer

	mu     sync.Mutex
	places int
	byHost map[netip.Addr]int
	asked  map[*request]struct{}
	stale  chan struct{} // closed when those who wait now have to ask anew

	turned   chan struct{} // a place for each that is being turned away
	refused  atomic.Uint64
	admitted atomic.Uint64
}

// request is one newcomer whose code is known.
type request struct {
	Waiting
	bound  string
	stale  <-chan struct{}
	orders chan order
	gone   chan struct{} // closed when it does not wait any more
}

// order lets a request's newcomer in.
type order struct {
	own  string
	done chan error // buffered
}

// Redeemer takes one use off the token with that secret, for good, before it returns nil. A *Refusal is told to the newcomer as it is.
type Redeemer func(ctx context.Context, secret []byte, who Waiting) error

// NewDesk returns a desk that hands over the key that key returns.
func NewDesk(key func() string, redeem Redeemer) *Desk {
	return &Desk{key: key, redeem: redeem, byHost: make(map[netip.Addr]int), asked: make(map[*request]struct{}), stale: make(chan struct{}), turned: make(chan struct{}, maxTurned)}
}

// Stats are a Desk's counters since it was made.
type Stats struct {
	Places   int    // Places are taken now, at most 8.
	Refused  uint64 // Refused counts newcomers for whom there was no place.
	Admitted uint64 // Admitted counts those that have been given the key.
}

// Stats returns the counters now.
func (d *Desk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Stats{Places: d.places, Refused: d.refused.Load(), Admitted: d.admitted.Load()}
}

// Serve hears newcomers on l, whose connections must be Streams, until ctx ends or l is closed. It closes l and waits for what it has started.
func (d *Desk) Serve(ctx context.Context, l net.Listener) {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s, ok := c.(Stream)
		if !ok {
			_ = c.Close()
			continue
		}
		wait.Go(func() { d.hear(ctx, s) })
	}
}

// hear gives a newcomer a place, or tells it that there is none.
func (d *Desk) hear(ctx context.Context, c Stream) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	host := hostOf(c)
	if !d.enter(host) {
		d.refused.Add(1)
		d.turnAway(c)
		return
	}
	defer d.leave(host)
	_ = c.SetDeadline(time.Now().Add(exchangeLimit))
	kind, body, err := readMessage(c)
	switch {
	case err != nil:
	case kind == kindAsk:
		d.hearAsk(ctx, c, host, body)
	case kind == kindToken:
		d.hearToken(ctx, c, host, body)
	}
}

// notUnderstood is said to a newcomer of a release that speaks otherwise.
const notUnderstood = "the request is not understood; use the same release of meshnode on all servers"

func (d *Desk) refuse(c Stream, code byte, text string) {
	_ = writeMessage(c, kindRefused, (&Refusal{Code: code, Text: text}).encode())
}

// hearAsk keeps a newcomer until its code is typed.
func (d *Desk) hearAsk(ctx context.Context, c Stream, host netip.Addr, ask []byte) {
	stale := d.now()
	r, err := d.answerAsk(c, host, ask)
	if err != nil {
		d.refuse(c, RefusedOther, notUnderstood)
		return
	}
	r.stale = stale
	d.put(r)
	said, end := listen(c)
	defer end()
	defer d.drop(r)
	if writeMessage(c, kindWaits, nil) != nil {
		return
	}
	_ = c.SetDeadline(time.Time{})
	if ctx.Err() != nil {
		return // its deadline is lifted now
	}
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	select {
	case o := <-r.orders:
		err := d.letIn(c, o.own, said)
		if err == nil {
			d.admitted.Add(1)
		}
		o.done <- err
	case <-said: // it has gone, or talks out of turn
	case <-limit.C:
		_ = c.SetDeadline(time.Now().Add(exchangeLimit))
		d.refuse(c, RefusedExpired, "nobody has admitted this server within 10 minutes")
	case <-r.stale:
		_ = c.SetDeadline(time.Now().Add(exchangeLimit))
		d.refuse(c, RefusedExpired, "the cluster key has been replaced meanwhile")
	case <-ctx.Done():
	}
}

// answerAsk works the bound half of the code out with a newcomer.
func (d *Desk) answerAsk(c Stream, host netip.Addr, ask []byte) (*request, error) {
	commitment, who, err := decodeAsk(ask)
	if err != nil {
		return nil, err
	}
	value := make([]byte, randomSize)
	if _, err := rand.Read(value); err != nil {
		return nil, err
	}
	if err := writeMessage(c, kindNonce, value); err != nil {
		return nil, err
	}
	theirs, err := expect(c, kindReveal, randomSize)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(theirs); subtle.ConstantTimeCompare(sum[:], commitment) != 1 {
		return nil, errMalformed
	}
	return &request{Waiting: Waiting{Newcomer: who, Addr: host, Since: time.Now()}, bound: boundHalf(c.Binding(), ask, value, theirs),
		orders: make(chan order), gone: make(chan struct{})}, nil
}

// heard is a message of a newcomer that waits, or why there is none.
type heard struct {
	kind byte
	body []byte
	err  error
}

// listen reads what a newcomer says. end closes the stream and waits for the reader.
func listen(c Stream) (said <-chan heard, end func()) {
	out, done := make(chan heard), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			kind, body, err := readMessage(c)
			select {
			case out <- heard{kind, body, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	return out, func() {
		close(done)
		_ = c.Close()
		wait.Wait()
	}
}

// letIn proves to the newcomer that its code was typed, and then hands the key over.
func (d *Desk) letIn(c Stream, own string, said <-chan heard) error {
	_ = c.SetDeadline(time.Now().Add(exchangeLimit))
	if err := writeMessage(c, kindProof, []byte(own)); err != nil {
		return err
	}
	answer := <-said
	switch {
	case answer.err != nil:
		return fmt.Errorf("the server that waited has gone: %w", answer.err)
	case answer.kind == kindNo:
		return ErrMistyped
	case answer.kind != kindYes || len(answer.body) != 0:
		return errTurn
	}
	if err := writeMessage(c, kindKey, []byte(d.key())); err != nil {
		return err
	}
	answer = <-said
	if answer.err != nil {
		return fmt.Errorf("the key was sent, and whether it is stored there is not known: %w", answer.err)
	}
	_, err := check(answer.kind, answer.body, kindKept, 0)
	return err
}

// Expire has all that wait ask anew: the key that they would be given is not that of the stream on which they ask.
func (d *Desk) Expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.stale)
	d.stale = make(chan struct{})
}

// now is closed when what was begun until now is stale.
func (d *Desk) now() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stale
}

func (d *Desk) put(r *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked[r] = struct{}{}
}

func (d *Desk) drop(r *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.asked, r)
	close(r.gone)
}

// Waiting lists the newcomers that wait, the first one first. It does not tell their codes: those come from their own screens.
func (d *Desk) Waiting() []Waiting {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]Waiting, 0, len(d.asked))
	for r := range d.asked {
		out = append(out, r.Waiting)
	}
	slices.SortFunc(out, func(a, b Waiting) int { return a.Since.Compare(b.Since) })
	return out
}

// Admit lets the newcomer in that shows the code, and blocks until it has stored the key, for some seconds at the most. The error is ErrUnknownCode,
// ErrMistyped, or says what went wrong on the way.
func (d *Desk) Admit(ctx context.Context, code Code) (Waiting, error) {
	r := d.find(code)
	if r == nil {
		return Waiting{}, ErrUnknownCode
	}
	o := order{own: code.own, done: make(chan error, 1)}
	select {
	case r.orders <- o:
	case <-r.gone:
		return Waiting{}, ErrUnknownCode
	case <-ctx.Done():
		return Waiting{}, ctx.Err()
	}
	select {
	case err := <-o.done:
		return r.Waiting, err
	case <-ctx.Done():
		return r.Waiting, ctx.Err()
	}
}

// find looks at all of them, so that its time tells nothing.
func (d *Desk) find(code Code) *request {
	d.mu.Lock()
	defer d.mu.Unlock()
	var found *request
	for r := range d.asked {
		if subtle.ConstantTimeCompare([]byte(r.bound), []byte(code.bound)) == 1 {
			found = r
		}
	}
	return found
}
