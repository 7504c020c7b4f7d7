package nodeipc

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit bounds every wait of these tests.
const limit = 30 * time.Second

// recorder is a Handler that passes on what it is told.
type recorder struct {
	reply     func(Query) Reply
	listening chan struct{}
	unlisten  chan string
	messages  chan json.RawMessage
	load      atomic.Pointer[Load] // the last report
	loads     atomic.Int64         // how many there were
}

func newRecorder(reply func(Query) Reply) *recorder {
	return &recorder{reply: reply, listening: make(chan struct{}, 16), unlisten: make(chan string, 16), messages: make(chan json.RawMessage, 16)}
}

func (r *recorder) Listen(q Query) Reply        { return r.reply(q) }
func (r *recorder) Listening()                  { r.listening <- struct{}{} }
func (r *recorder) Unlisten(key string)         { r.unlisten <- key }
func (r *recorder) Message(raw json.RawMessage) { r.messages <- raw }
func (r *recorder) Load(l Load) {
	r.load.Store(&l)
	r.loads.Add(1)
}

// peer is a scripted worker: the other end of a channel's socket pair.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	r    *bufio.Reader
	fds  []int // descriptors received and not taken
}

// connect opens a channel to a scripted worker, and returns what Run returned once it has.
func connect(t *testing.T, h Handler) (*Channel, *peer, <-chan error) {
	t.Helper()
	ours, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: c.(*net.UnixConn)}
	p.r = bufio.NewReader(p)
	p.conn.SetDeadline(time.Now().Add(limit))
	ch := New(ours, h)
	done := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { done <- ch.Run() })
	t.Cleanup(func() {
		p.conn.Close()
		ch.Close()
		wg.Wait()
		for _, fd := range p.fds {
			unix.Close(fd)
		}
	})
	return ch, p, done
}

// Read implements io.Reader, and keeps the descriptors that come along.
func (p *peer) Read(b []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(16*4))
	n, k, _, _, err := p.conn.ReadMsgUnix(b, oob)
	if msgs, err := unix.ParseSocketControlMessage(oob[:k]); err == nil {
		for i := range msgs {
			fds, _ := unix.ParseUnixRights(&msgs[i])
			p.fds = append(p.fds, fds...)
		}
	}
	if n == 0 && err == nil {
		return 0, net.ErrClosed
	}
	return n, err
}

func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(line + "\n")); err != nil {
		p.t.Errorf("write %.60q: %v", line, err) // not Fatalf: some speak from a goroutine of their own
	}
}

// hear returns the next message as an object.
func (p *peer) hear() map[string]any {
	p.t.Helper()
	line, err := p.r.ReadString('\n')
	if err != nil {
		p.t.Fatalf("read from the primary: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(line), &m); err != nil || strings.TrimSpace(line) == "" {
		p.t.Fatalf("the primary wrote %q: %v", line, err)
	}
	return m
}

// query sends a listen call and returns the reply.
func (p *peer) query(seq string, fields string) map[string]any {
	p.t.Helper()
	p.say(`{"cmd":"NODE_CLUSTER","act":"queryServer","seq":` + seq + `,"index":0,"data":{"k":[1,2]},"backlog":false,"flags":0,` + fields + `}`)
	return p.hear()
}

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(limit):
		t.Fatalf("no %s within %s", what, limit)
		panic("unreachable")
	}
}

// spare returns a descriptor that an offer may carry, closed at the end of the test.
func spare(t testing.TB) int {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

// outcomes collects what becomes of offers.
type outcomes struct {
	mu  sync.Mutex
	all map[string][]Outcome
	c   chan Outcome
}

func newOutcomes() *outcomes {
	return &outcomes{all: make(map[string][]Outcome), c: make(chan Outcome, 1024)}
}

func (o *outcomes) of(name string) func(Outcome) {
	return func(r Outcome) {
		o.mu.Lock()
		o.all[name] = append(o.all[name], r)
		o.mu.Unlock()
		o.c <- r
	}
}

func (o *outcomes) expect(t *testing.T, name string, want ...Outcome) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.all[name], want) {
		t.Errorf("outcomes of %s: %v, want %v", name, o.all[name], want)
	}
}

// visitor is a scripted process below a worker.
func visitor(t *testing.T, f *Family) *peer {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	p := &peer{t: t, conn: c}
	p.r = bufio.NewReader(p)
	c.SetDeadline(time.Now().Add(limit))
	return p
}
