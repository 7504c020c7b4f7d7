package nodeipc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// line is a worker's channel under one owner after the other.
type line struct {
	discard
	t     *testing.T
	mu    sync.Mutex
	ch    *Channel
	runs  sync.WaitGroup
	heard atomic.Int64  // messages of the app
	told  atomic.Int64  // how many the app says it sent, once it does
	over  chan struct{} // closed then
}

func (l *line) Message(raw json.RawMessage) {
	var total struct{ Total int64 }
	if json.Unmarshal(raw, &total) == nil && total.Total > 0 {
		l.told.Store(total.Total)
		close(l.over)
		return
	}
	l.heard.Add(1)
}

func (l *line) now() *Channel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ch
}

// succeed has another channel go on over f.
func (l *line) succeed(f *os.File, rest Remains) {
	l.t.Helper()
	ch, err := Adopt(f, rest, l)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.ch = ch
	l.mu.Unlock()
	l.runs.Go(func() { _ = ch.Run() })
}

func (l *line) handOver() {
	l.t.Helper()
	f, rest, err := l.now().Detach(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	if len(rest.Held) != 1 || rest.Seq == 0 || rest.Unacked != 0 || !rest.Preload {
		l.t.Errorf("handed over: %+v", rest)
	}
	l.succeed(f, rest)
}

// place offers fd until an owner's channel takes it, as the data path does.
func (l *line) place(fd int) error {
	defer unix.Close(fd)
	for until := time.Now().Add(limit); time.Now().Before(until); {
		taken := make(chan Outcome, 1)
		if err := l.now().Offer("null:3000:4", fd, netip.AddrPort{}, func(o Outcome) { taken <- o }); err != nil {
			<-time.After(time.Millisecond)
			continue // the successor is not there yet
		}
		if o := <-taken; o != Accepted {
			return fmt.Errorf("outcome %d", o)
		}
		return nil
	}
	return errors.New("nobody took it")
}

// request sends one request over a connection of its own.
func (l *line) request(place func(fd int) error) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	c, err := unixConn(os.NewFile(uintptr(fds[0]), "client"))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := errors.Join(c.SetDeadline(time.Now().Add(limit)), place(fds[1])); err != nil {
		return err
	}
	return hears(c, "hello")
}

func hears(c net.Conn, want string) error {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != want {
		return fmt.Errorf("answer %q: %w", b, err)
	}
	return nil
}

// adopted starts a talkative worker whose channel has been handed over once, and clients that load it until stop is called.
func talkative(t *testing.T) (l *line, stop func() (requests int64)) {
	w := startNode(t, `
		require('http').createServer((q, s) => s.end('hello')).listen(3000);
		let n = 0, timer;
		process.on('message', (m) => {
			if (m === 'talk') timer = setInterval(() => { n++; process.send({ n, text: 'x'.repeat(3000) }); }, 1);
			else { clearInterval(timer); process.send({ Total: n }); }
		});`)
	await(t, "listening", w.rec.listening)
	l = &line{t: t, ch: w.ch, over: make(chan struct{})}
	l.handOver()
	t.Cleanup(func() {
		l.now().Close()
		l.runs.Wait()
	})
	if err := l.now().Send(json.RawMessage(`"talk"`)); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	var good atomic.Int64
	end := make(chan struct{})
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				if err := l.request(l.place); err != nil {
					t.Errorf("request: %v", err)
					return
				}
				good.Add(1)
			}
		})
	}
	return l, sync.OnceValue(func() int64 {
		close(end)
		clients.Wait()
		return good.Load()
	})
}

// progress waits until so many more messages were heard.
func (l *line) progress() {
	l.t.Helper()
	from := l.heard.Load()
	for until := time.Now().Add(limit); l.heard.Load() < from+20; {
		if time.Now().After(until) {
			l.t.Fatal("the worker is not heard any more")
		}
		<-time.After(time.Millisecond)
	}
}

func (l *line) total() int64 {
	l.t.Helper()
	if err := l.now().Send(json.RawMessage(`"enough"`)); err != nil {
		l.t.Fatal(err)
	}
	await(l.t, "end of the talk", l.over)
	return l.told.Load()
}

func TestNodeChannelIsHandedOverUnderLoad(t *testing.T) {
	l, stop := talkative(t)
	defer stop()
	for range 10 {
		l.progress()
		l.handOver()
	}
	requests := stop()
	if n := l.total(); n != l.heard.Load() {
		t.Errorf("the app sent %d messages, %d arrived", n, l.heard.Load())
	}
	t.Logf("%d requests, %d messages, none lost in 10 hand-overs", requests, l.heard.Load())
}

// The owner dies with offers on their way and a message half read; its successor has a duplicate of the socket and knows only the keys.
func TestNodeChannelOutlivesItsOwner(t *testing.T) {
	l, stop := talkative(t)
	l.progress()
	requests := stop()
	for range 5 {
		l.progress()
		old := l.now()
		f, err := old.duplicate()
		if err != nil {
			t.Fatal(err)
		}
		var orphans sync.WaitGroup
		sent := make(chan struct{}, 3)
		for range 3 {
			orphans.Go(func() {
				err := l.request(func(fd int) error {
					defer unix.Close(fd)
					defer func() { sent <- struct{}{} }()
					return old.Offer("null:3000:4", fd, netip.AddrPort{}, func(Outcome) {})
				})
				if err != nil {
					t.Errorf("a request that was offered before the owner died: %v", err)
				}
			})
		}
		for range 3 {
			await(t, "offer", sent)
		}
		old.Close()
		<-old.ended
		l.succeed(f, Remains{Held: []string{"null:3000:4"}})
		for range 20 {
			if err := l.request(l.place); err != nil {
				t.Fatalf("request through the successor: %v", err)
			}
		}
		orphans.Wait()
	}
	if n := l.total(); n < l.heard.Load() {
		t.Errorf("the app sent %d messages, %d arrived", n, l.heard.Load())
	}
	t.Logf("%d requests before; the app sent %d messages, %d arrived", requests, l.told.Load(), l.heard.Load())
}

func TestDetachKeepsWhatIsHalfRead(t *testing.T) {
	h := newRecorder(listens)
	ch, p, done := connect(t, h)
	o := newOutcomes()
	p.query("1", `"address":null,"port":3000,"addressType":4`)
	if err := ch.Offer("null:3000:4", spare(t), netip.AddrPort{}, o.of("open")); err != nil {
		t.Fatal(err)
	}
	p.hear()
	if _, err := p.conn.Write([]byte("\"whole\"\n\"ha")); err != nil {
		t.Fatal(err)
	}
	await(t, "message", h.messages)
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the worker is blocked
	f, rest, err := ch.Detach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := await(t, "end of Run", done); !errors.Is(err, ErrDetached) {
		t.Errorf("Run: %v", err)
	}
	o.expect(t, "open", Accepted)
	if rest.Seq != 2 || rest.Unacked != 1 || string(rest.Unread) != `"ha` || strings.Join(rest.Held, " ") != "null:3000:4" {
		t.Errorf("remains: %+v", rest)
	}
	if err := errors.Join(ch.Drain(), ch.Offer("k", spare(t), netip.AddrPort{}, o.of("late"))); !errors.Is(err, ErrClosed) {
		t.Errorf("after the hand-over: %v", err)
	}
	next, err := Adopt(f, rest, h)
	if err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	run.Go(func() { _ = next.Run() })
	t.Cleanup(func() { next.Close(); run.Wait() })
	p.say(`lf"`)
	if got := await(t, "message", h.messages); string(got) != `"half"` {
		t.Errorf("message %s", got)
	}
	if r := p.query("2", `"address":null,"port":3000,"addressType":4`); r["errno"] == nil || r["seq"].(float64) <= 2 {
		t.Errorf("the key is held: %v", r)
	}
	// The predecessor's socket is confirmed late, ours is lost: each confirmation counts for its own.
	if err := next.Offer("null:3000:4", spare(t), netip.AddrPort{}, o.of("ours")); err != nil {
		t.Fatal(err)
	}
	p.hear()
	p.say(`{"cmd":"NODE_HANDLE_ACK"}`)
	p.say(`{"cmd":"NODE_CLUSTER","ack":2,"accepted":true,"seq":9}`)
	p.say(`"mark"`)
	await(t, "message", h.messages)
	o.expect(t, "ours")
	p.say(`{"cmd":"NODE_HANDLE_NACK"}`)
	p.say(`"mark"`)
	await(t, "message", h.messages)
	o.expect(t, "ours", Refused)
}
