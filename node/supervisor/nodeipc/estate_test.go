package nodeipc

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a worker and the processes below it have goes to a successor as one, also who asks only then.
func TestNodeFamilyIsHandedOver(t *testing.T) {
	child := script(t, "child.js", `require('http').createServer((q, s) => s.end('hello')).listen(Number(process.argv[2]));`)
	for name, direct := range map[string]bool{"started": true, "below a shell": false} {
		t.Run(name, func(t *testing.T) {
			app := script(t, "app.js", `
				const { fork } = require('child_process');
				process.on('message', () => fork('`+child+`', ['5000']));
				require('http').createServer((q, s) => s.end('hello')).listen(3000, () => fork('`+child+`', ['4000']));`)
			cmd := exec.Command(nodePath(t), app)
			if !direct {
				cmd = exec.Command("sh", "-c", "node "+app+"; :")
			}
			w := startTree(t, direct, cmd)
			keys := []string{await(t, "listen call", w.key), await(t, "listen call", w.key)}
			await(t, "listening", w.rec.listening)
			await(t, "listening", w.rec.listening)
			fam := w.fam
			var runs sync.WaitGroup
			t.Cleanup(func() {
				fam.Close()
				runs.Wait()
			})
			for range 3 {
				for _, key := range keys {
					answers(t, fam, key)
				}
				files, estate, err := fam.Detach(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				raw, err := json.Marshal(estate) // it goes to another process
				if err != nil {
					t.Fatal(err)
				}
				estate = Estate{}
				if err := json.Unmarshal(raw, &estate); err != nil || len(estate.Channels) != 2 || estate.Root != direct {
					t.Fatalf("estate %s, %v", raw, err)
				}
				if err := errors.Join(fam.Close(), fam.Offer(keys[0], spare(t), netip.AddrPort{}, func(Outcome) {})); !errors.Is(err, ErrClosed) {
					t.Errorf("after the hand-over: %v", err)
				}
				if fam, err = AdoptFamily(files, estate, os.Getuid(), w.rec); err != nil {
					t.Fatal(err)
				}
				now := fam
				runs.Go(func() { _ = now.Run() })
			}
			if err := fam.Send(json.RawMessage(`"more"`)); err != nil {
				t.Fatal(err)
			}
			if keys = append(keys, await(t, "listen call", w.key)); keys[2] != "null:5000:4" {
				t.Errorf("keys %v", keys)
			}
			await(t, "listening", w.rec.listening)
			for _, key := range keys {
				answers(t, fam, key)
			}
		})
	}
}

func answers(t *testing.T, fam *Family, key string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	c, err := unixConn(os.NewFile(uintptr(fds[0]), "client"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	taken := make(chan Outcome, 1)
	if err := fam.Offer(key, fds[1], netip.AddrPort{}, func(o Outcome) { taken <- o }); err != nil {
		t.Fatal(err)
	}
	if o := await(t, "outcome", taken); o != Accepted {
		t.Fatalf("outcome %d", o)
	}
	if err := hears(c, "hello"); err != nil {
		t.Errorf("on %s: %v", key, err)
	}
}

func TestRendezvousThatCannotBe(t *testing.T) {
	f, err := NewFamily(nil, strings.Repeat("/long", 40), "1", os.Getuid(), discard{})
	if err == nil || len(f.Environ()) > 0 {
		t.Errorf("environment %v, %v", f.Environ(), err)
	}
	var run sync.WaitGroup
	run.Go(func() { _ = f.Run() })
	f.Close()
	run.Wait()
}

// Only so many are let in, and two processes of a worker cannot have the same port.
func TestFamilyIsBounded(t *testing.T) {
	f, err := NewFamily(nil, t.TempDir(), "1", os.Getuid(), discard{})
	if err != nil {
		t.Fatal(err)
	}
	var run sync.WaitGroup
	run.Go(func() { _ = f.Run() })
	t.Cleanup(func() { f.Close(); run.Wait() })
	peers := make([]*peer, 0, maxBranches+2)
	for range cap(peers) {
		peers = append(peers, visitor(t, f))
	}
	eventually(t, "refusals", func() bool { return f.Refused() > 0 })
	fields := `"address":null,"port":3000,"addressType":4`
	if r := peers[0].query("1", fields); r["errno"] != nil {
		t.Errorf("listen: %v", r)
	}
	if r := peers[1].query("1", fields); r["errno"] != -float64(unix.EADDRINUSE) {
		t.Errorf("the same port in another process: %v", r)
	}
	peers[0].conn.Close()
	eventually(t, "the port free again", func() bool { return peers[1].query("2", fields)["errno"] == nil })
}

// The node is killed, and the next one knows of the worker's processes only where they look for it.
func TestNodeServerFindsTheNextNode(t *testing.T) {
	w := startTree(t, false, exec.Command("sh", "-c", "node "+script(t, "app.js", hello)+"; :"))
	key := await(t, "listen call", w.key)
	await(t, "listening", w.rec.listening)
	answers(t, w.fam, key)
	path := w.fam.path
	for range 2 {
		w.fam.l.SetUnlinkOnClose(false) // a killed node leaves it
		w.fam.Close()
		next, err := AdoptFamily(nil, Estate{Path: path}, os.Getuid(), w.rec)
		if err != nil {
			t.Fatal(err)
		}
		var run sync.WaitGroup
		run.Go(func() { _ = next.Run() })
		t.Cleanup(func() { next.Close(); run.Wait() })
		if again := await(t, "listen call", w.key); again != key {
			t.Errorf("key %q, want %q", again, key)
		}
		await(t, "listening", w.rec.listening)
		answers(t, next, key)
		w.fam = next
	}
}
