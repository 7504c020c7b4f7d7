package nodeipc

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// eventually polls what the clock or another process brings about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for until := time.Now().Add(limit); !cond(); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

const endless = `
	process.on('message', (m) => process.send(['the app sees', m]));
	require('http').createServer((q, s) => {
		if (q.url === '/hang') for (;;);
		const until = Date.now() + 20; // busy, but healthy
		while (Date.now() < until);
		s.end('hello');
	}).listen(3000);`

func TestNodeBlockedWorkerOwesItsSignOfLife(t *testing.T) {
	app := script(t, "app.js", endless)
	for name, start := range map[string]func(t *testing.T) *worker{
		"started":       func(t *testing.T) *worker { return startTree(t, true, exec.Command(nodePath(t), app)) },
		"below a shell": func(t *testing.T) *worker { return startTree(t, false, exec.Command("sh", "-c", "node "+app+"; :")) },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t)
			key := await(t, "listen call", w.key)
			await(t, "listening", w.rec.listening)
			w.fam.mu.Lock()
			ch := w.fam.holder[key]
			w.fam.mu.Unlock()
			eventually(t, "hello of the preload", ch.Preloaded)
			kept := w.open(key)
			for range 5 {
				if err := w.fam.Ping(); err != nil {
					t.Fatal(err)
				}
				if body, _ := w.get(kept); body != "hello" {
					t.Errorf("answer %q", body)
				}
				eventually(t, "sign of life", func() bool { return w.fam.Silent() == 0 })
			}
			if _, err := kept.c.Write([]byte("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			// The ping may be answered just before the request is read: it is asked again until nothing comes.
			eventually(t, "silence", func() bool {
				if err := w.fam.Ping(); err != nil {
					t.Error(err)
				}
				return w.fam.Silent() > 200*time.Millisecond
			})
			if _, err := os.Stat("/proc/" + strconv.Itoa(w.proc.Pid)); err != nil {
				t.Errorf("the worker should live: %v", err)
			}
			select {
			case m := <-w.rec.messages:
				t.Errorf("a ping reached the app or came from it: %s", m)
			default:
			}
		})
	}
}

// A worker whose preload is switched off owes nothing.
func TestWorkerWithoutPreloadIsNotAsked(t *testing.T) {
	ch, p, _ := connect(t, newRecorder(listens))
	if err := ch.Ping(); err != nil || ch.Silent() != 0 || ch.Preloaded() {
		t.Errorf("ping %v, silent for %s", err, ch.Silent())
	}
	if err := ch.Drain(); err != nil {
		t.Fatal(err)
	}
	if m := p.hear(); m["act"] != "drain" {
		t.Errorf("a ping was sent: %v", m)
	}
}

func TestNodeAppHearsItsMessages(t *testing.T) {
	const app = `
		process.on('message', (m) => { if (m === 'shutdown') process.exit(7); else process.send?.(m); });
		require('http').createServer().listen(3000);`
	t.Run("started", func(t *testing.T) {
		w := startNode(t, app)
		await(t, "listening", w.rec.listening)
		for _, m := range []string{`{"a":[1,"ü\n"]}`, `"text"`, `null`} {
			if err := w.fam.Send(json.RawMessage(m)); err != nil {
				t.Fatal(err)
			}
			if got := await(t, "echo", w.rec.messages); string(got) != m {
				t.Errorf("%s came back as %s", m, got)
			}
		}
		if err := w.fam.Send(json.RawMessage(`"` + strings.Repeat("x", maxText) + `"`)); !errors.Is(err, ErrTooLong) {
			t.Errorf("a message in bulk: %v", err)
		}
		if err := w.fam.Send(json.RawMessage("{\n")); err == nil {
			t.Error("what is no JSON would end the worker")
		}
		w.shutDown()
	})
	t.Run("below a shell", func(t *testing.T) {
		w := startTree(t, false, exec.Command("sh", "-c", "node "+script(t, "app.js", app)+"; exit $?"))
		await(t, "listening", w.rec.listening)
		w.shutDown()
	})
}

// shutDown asks the app to end as some apps want to be asked.
func (w *worker) shutDown() {
	w.t.Helper()
	if err := w.fam.Send(json.RawMessage(` "shutdown" `)); err != nil {
		w.t.Fatal(err)
	}
	var code *exec.ExitError
	if err := await(w.t, "end of the worker", w.end); !errors.As(err, &code) || code.ExitCode() != 7 {
		w.t.Errorf("the worker ended with %v, want code 7", err)
	}
}

// The other owner of a worker is gone: a server that only waits for it ends, as a cluster worker does.
func TestNodeServerEndsWithItsChannel(t *testing.T) {
	w := startTree(t, false, exec.Command("sh", "-c", "node "+script(t, "app.js", `
		process.on('SIGTERM', () => process.exit(5));
		require('http').createServer().listen(3000);`)+"; exit $?"))
	await(t, "listening", w.rec.listening)
	if err := w.fam.Offer("null:4000:4", spare(t), netip.AddrPort{}, func(Outcome) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("an offer that nobody listens for: %v", err)
	}
	w.fam.Close()
	var code *exec.ExitError
	if err := await(t, "end of the worker", w.end); !errors.As(err, &code) || code.ExitCode() != 5 {
		t.Errorf("the worker ended with %v, want code 5", err)
	}
}
