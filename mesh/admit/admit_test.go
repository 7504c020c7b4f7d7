package admit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipe is one end of a stream in memory. The other end has the same binding unless somebody is in between.
type pipe struct {
	net.Conn
	binding []byte
	from    netip.AddrPort
}

func (p *pipe) Binding() []byte      { return p.binding }
func (p *pipe) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(p.from) }

// door is a listener in memory.
type door struct {
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.streams:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}
func (d *door) Close() error   { d.once.Do(func() { close(d.closed) }); return nil }
func (d *door) Addr() net.Addr { return &net.TCPAddr{} }

const testKey = "mk1-the-key"

// office is a desk that serves.
type office struct {
	*Desk
	t    *testing.T
	door *door
	wait sync.WaitGroup

	redeemed func(secret []byte, who Waiting) error
}

func newOffice(t *testing.T) *office {
	t.Helper()
	var o *office
	o = &office{Desk: NewDesk(func() string { return testKey }, func(_ context.Context, secret []byte, who Waiting) error { return o.redeemed(secret, who) }), t: t, door: &door{streams: make(chan net.Conn), closed: make(chan struct{})}}
	ctx, cancel := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() { o.Serve(ctx, o.door) })
	t.Cleanup(func() {
		cancel()
		serving.Wait()
		o.wait.Wait()
	})
	return o
}

// connect opens a stream from a host.
func (o *office) connect(binding, host string) *pipe {
	near, far := net.Pipe()
	o.door.streams <- &pipe{Conn: far, binding: []byte(binding), from: netip.AddrPortFrom(netip.MustParseAddr(host), 1)}
	return &pipe{Conn: near, binding: []byte(binding)}
}

// outcome is what became of one that asks.
type outcome struct {
	key string
	err error
}

// ask has a newcomer ask on a stream and returns once it shows its code.
func (o *office) ask(c *pipe, name string) (Code, <-chan outcome) {
	o.t.Helper()
	codes, ends := make(chan Code, 1), make(chan outcome, 1)
	o.wait.Go(func() {
		var got outcome
		got.err = Ask(o.t.Context(), c, Newcomer{Name: name, ID: name + "-1", Release: "v1"}, func(c Code) { codes <- c },
			func(key string) error { got.key = key; return nil })
		ends <- got
	})
	select {
	case c := <-codes:
		return c, ends
	case e := <-ends:
		o.t.Fatalf("no code: %v", e.err)
		return Code{}, nil
	}
}

func TestAdmit(t *testing.T) {
	o := newOffice(t)
	c := o.connect("one", "10.0.0.9")
	code, end := o.ask(c, "web-4")
	typed, err := ParseCode(" " + code.String() + " ")
	if err != nil || typed != code {
		t.Fatalf("%v is read as %v, %v", code, typed, err)
	}
	if w := o.Waiting(); len(w) != 1 || w[0].Name != "web-4" || w[0].Addr.String() != "10.0.0.9" || w[0].Since.IsZero() {
		t.Errorf("%+v waits", w)
	}
	who, err := o.Admit(t.Context(), typed)
	if err != nil || who.ID != "web-4-1" {
		t.Errorf("%+v, %v", who, err)
	}
	if got := <-end; got.err != nil || got.key != testKey {
		t.Errorf("%+v", got)
	}
	if _, err := o.Admit(t.Context(), typed); !errors.Is(err, ErrUnknownCode) {
		t.Errorf("the same code again: %v", err)
	}
	if s := o.Stats(); s.Admitted != 1 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

func TestToken(t *testing.T) {
	o := newOffice(t)
	token, err := NewToken(make([]byte, clusterSize))
	if err != nil {
		t.Fatal(err)
	}
	var answer error
	o.redeemed = func(secret []byte, who Waiting) error {
		if HashSecret(secret) != token.Hash() || who.Name != "web-4" || who.Addr.String() != "10.0.0.9" {
			t.Errorf("%x of %+v", secret, who)
		}
		return answer
	}
	redeem := func() (key string, err error) {
		err = Redeem(t.Context(), o.connect("one", "10.0.0.9"), token, Newcomer{Name: "web-4", ID: "web-4-1"}, func(k string) error { key = k; return nil })
		return key, err
	}
	if key, err := redeem(); err != nil || key != testKey {
		t.Errorf("%q, %v", key, err)
	}
	var refusal *Refusal
	answer = &Refusal{Code: RefusedOther, Text: "it has expired"}
	if key, err := redeem(); key != "" || !errors.As(err, &refusal) || !refusal.Final() || refusal.Text != "it has expired" {
		t.Errorf("%q, %v", key, err)
	}
	answer = errors.New("no leader")
	if key, err := redeem(); key != "" || !errors.As(err, &refusal) || refusal.Final() {
		t.Errorf("%q, %v", key, err)
	}
}

func TestExpire(t *testing.T) {
	o := newOffice(t)
	code, end := o.ask(o.connect("one", "10.0.0.9"), "web-4")
	o.Expire()
	var refusal *Refusal
	if got := <-end; !errors.As(got.err, &refusal) || refusal.Final() || got.key != "" {
		t.Errorf("%+v", got)
	}
	if _, err := o.Admit(t.Context(), code); !errors.Is(err, ErrUnknownCode) {
		t.Error(err)
	}
	again, end := o.ask(o.connect("two", "10.0.0.9"), "web-4")
	if _, err := o.Admit(t.Context(), again); err != nil {
		t.Error(err)
	}
	if got := <-end; got.key != testKey {
		t.Errorf("%+v", got)
	}
}

func TestWrongCodes(t *testing.T) {
	o := newOffice(t)
	code, end := o.ask(o.connect("one", "10.0.0.9"), "web-4")
	other := code
	other.bound = letters([]byte("\x01\x02\x03\x04\x05\x06\x07\x08"), boundLetters)
	if _, err := o.Admit(t.Context(), other); !errors.Is(err, ErrUnknownCode) {
		t.Errorf("another code: %v", err)
	}
	if len(o.Waiting()) != 1 {
		t.Error("a wrong code has ended the request")
	}
	other = code
	if other.own = "222222"; code.own == other.own {
		other.own = "333333"
	}
	if _, err := o.Admit(t.Context(), other); !errors.Is(err, ErrMistyped) {
		t.Errorf("another end: %v", err)
	}
	if got := <-end; !errors.Is(got.err, ErrWrongProof) || got.key != "" {
		t.Errorf("%+v", got)
	}
}

func TestNewcomerThatGoesIsForgotten(t *testing.T) {
	o := newOffice(t)
	c := o.connect("one", "10.0.0.9")
	code, end := o.ask(c, "web-4")
	c.Close()
	<-end
	for len(o.Waiting()) > 0 { // the desk reads the end of the stream soon
		if _, err := o.Admit(t.Context(), code); err == nil {
			t.Fatal("a newcomer that has gone was admitted")
		}
	}
}

// TestSomebodyInBetween has a man between the two, who shows a newcomer's messages to the desk and the desk's to the newcomer, over two connections.
func TestSomebodyInBetween(t *testing.T) {
	o := newOffice(t)
	near, far := net.Pipe()
	victim := &pipe{Conn: near, binding: []byte("of the newcomer")}
	toDesk := o.connect("of the desk", "10.0.0.66")
	var copying sync.WaitGroup
	copying.Go(func() { _, _ = io.Copy(toDesk, far); toDesk.Close() })
	copying.Go(func() { _, _ = io.Copy(far, toDesk); far.Close() })
	defer copying.Wait()
	code, end := o.ask(victim, "web-4")
	if _, err := o.Admit(t.Context(), code); !errors.Is(err, ErrUnknownCode) {
		t.Errorf("the code of the newcomer admits somebody else: %v", err)
	}
	victim.Close()
	if got := <-end; got.key != "" {
		t.Error("the newcomer has a key")
	}
}

// TestSomebodyWithTwoSessions has the man in between run the protocol himself on both sides.
func TestSomebodyWithTwoSessions(t *testing.T) {
	o := newOffice(t)
	own, _ := o.ask(o.connect("of the desk", "10.0.0.66"), "mallory")
	fake := newOffice(t)
	code, end := fake.ask(fake.connect("of the newcomer", "10.0.0.9"), "web-4")
	if own.bound == code.bound {
		t.Fatal("the two codes are the same")
	}
	if _, err := o.Admit(t.Context(), code); !errors.Is(err, ErrUnknownCode) {
		t.Errorf("%v", err)
	}
	// He knows the bound half of what the newcomer shows, and not the rest.
	guess := code
	if guess.own = "222222"; guess.own == code.own {
		guess.own = "333333"
	}
	if _, err := fake.Admit(t.Context(), guess); !errors.Is(err, ErrMistyped) {
		t.Errorf("%v", err)
	}
	if got := <-end; !errors.Is(got.err, ErrWrongProof) || got.key != "" {
		t.Errorf("the newcomer took the key of a stranger: %+v", got)
	}
}

// TestKeyWithoutProof sends the key at once, as one would who wants a newcomer to join his own cluster.
func TestKeyWithoutProof(t *testing.T) {
	near, far := net.Pipe()
	var desk sync.WaitGroup
	desk.Go(func() {
		defer far.Close()
		c := &pipe{Conn: far, binding: []byte("x"), from: netip.MustParseAddrPort("10.0.0.1:1")}
		_, body, err := readMessage(c)
		if err != nil {
			return
		}
		if _, err := (&Desk{}).answerAsk(c, netip.Addr{}, body); err != nil {
			return
		}
		_ = writeMessage(c, kindWaits, nil)
		_ = writeMessage(c, kindKey, []byte(testKey))
	})
	defer desk.Wait()
	err := Ask(t.Context(), &pipe{Conn: near, binding: []byte("x")}, Newcomer{Name: "a", ID: "a-1"}, func(Code) {},
		func(string) error { t.Error("it is taken"); return nil })
	if !errors.Is(err, errTurn) {
		t.Errorf("%v", err)
	}
}

func TestFalseReveal(t *testing.T) {
	o := newOffice(t)
	c := o.connect("x", "10.0.0.9")
	defer c.Close()
	commitment := sha256.Sum256(make([]byte, randomSize))
	if err := writeMessage(c, kindAsk, appendAsk(nil, commitment[:], Newcomer{Name: "a", ID: "a-1"})); err != nil {
		t.Fatal(err)
	}
	if _, err := expect(c, kindNonce, randomSize); err != nil {
		t.Fatal(err)
	}
	if err := writeMessage(c, kindReveal, bytes.Repeat([]byte{1}, randomSize)); err != nil { // another value than the one committed to
		t.Fatal(err)
	}
	var refusal *Refusal
	if _, err := expect(c, kindWaits, 0); !errors.As(err, &refusal) || !refusal.Final() {
		t.Errorf("%v", err)
	}
}

func TestPlacesAreBounded(t *testing.T) {
	o := newOffice(t)
	var refusal *Refusal
	refused := func(host string) bool {
		t.Helper()
		err := Ask(t.Context(), o.connect("x", host), Newcomer{Name: "a", ID: "a-1"}, func(Code) { t.Error("it waits") }, func(string) error { return nil })
		return errors.As(err, &refusal) && refusal.Code == RefusedBusy && !refusal.Final()
	}
	var all []*pipe
	for i := range maxPlaces {
		c := o.connect("x", netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i/maxPerHost)}).String())
		all = append(all, c)
		o.ask(c, "a")
		if i == maxPerHost-1 && !refused("10.0.0.1") {
			t.Error("one host has more than its places")
		}
	}
	if !refused("10.0.9.9") || o.Stats().Refused != 2 || o.Stats().Places != maxPlaces {
		t.Errorf("%+v", o.Stats())
	}
	for _, c := range all {
		c.Close()
	}
}

// TestReplay says to a desk what was heard of an admission.
func TestReplay(t *testing.T) {
	o := newOffice(t)
	c := o.connect("one", "10.0.0.9")
	var heard bytes.Buffer
	code, end := o.ask(&pipe{Conn: teeConn{c, &heard}, binding: c.binding}, "web-4")
	if _, err := o.Admit(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	<-end
	again := o.connect("another", "10.0.0.66")
	defer again.Close()
	var writing sync.WaitGroup
	writing.Go(func() { _, _ = again.Write(heard.Bytes()) })
	defer writing.Wait()
	_ = again.SetDeadline(time.Now().Add(10 * time.Second))
	got, _ := io.ReadAll(again) // the desk ends it: the yes comes out of turn
	if bytes.Contains(got, []byte(testKey)) {
		t.Error("the key is given to a replay")
	}
	if s := o.Stats(); s.Admitted != 1 {
		t.Errorf("%+v", s)
	}
}

// teeConn remembers what is written.
type teeConn struct {
	net.Conn
	heard *bytes.Buffer
}

func (c teeConn) Write(b []byte) (int, error) {
	c.heard.Write(b)
	return c.Conn.Write(b)
}
