package keeper

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/hashicorp/go-hclog"
)

// Options are what Main needs.
type Options struct {
	Args   []string // Args of this process, the program first; the node has the same.
	Env    []string // Env of this process.
	Logger hclog.Logger
}

// Main is the life of the keeper: it starts the node, which is this same program with the same arguments, and returns the exit code
// when all has ended. When ctx ends the node is told to stop. The caller is locked to the main thread.
func Main(ctx context.Context, o Options) int {
	k := newKeeper(o.Logger.Named("keeper"))
	g, err := newGuard(k, o, tellSystemd)
	if err != nil {
		k.log.Error("cannot start the node", "err", err)
		return 1
	}
	adopt(true)
	defer adopt(false)
	g.begin()
	k.run(ctx, true)
	return g.end.code
}

// run is the keeper's loop: until the guard says that all is over, or, without one, until ctx ends.
func (k *Keeper) run(ctx context.Context, orphans bool) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	retry, limit, ping := timersOf(k.guard)
	defer ping.Stop()
	done := ctx.Done()
	k.ended(orphans) // what ended before its signal would have been noticed
	for k.guard == nil || !k.guard.end.over {
		select {
		case r := <-k.inbox:
			k.serve(r)
		case <-ended:
			k.ended(orphans)
		case <-retry:
			k.guard.begin()
		case <-limit:
			k.guard.late()
		case <-ping.C:
			k.ping()
		case <-done:
			if k.guard == nil {
				return
			}
			done = nil
			k.guard.stop()
		}
	}
	k.windDown(ended, orphans)
}

// windDown ends what the node has left: after an orderly stop nothing, else workers that nobody drains, and former nodes with what crosses
// them.
func (k *Keeper) windDown(ended <-chan os.Signal, orphans bool) {
	k.children.signalGroups(syscall.SIGTERM)
	t := time.NewTimer(k.guard.limits.end)
	defer t.Stop()
	for late := false; !late && k.children.living() > 0; {
		select {
		case <-ended:
			k.ended(orphans)
		case r := <-k.inbox:
			k.serve(r)
		case <-t.C:
			late = true
		}
	}
	k.children.signalGroups(syscall.SIGKILL)
}

// ping has the node say that it lives, by which systemd's watchdog is kept quiet. While there is none, one is about to be started.
func (k *Keeper) ping() {
	if k.current == nil && k.guard != nil {
		k.guard.notify("WATCHDOG=1")
	}
	k.tell(k.current, packet{Kind: kindPing})
}

// pingLeast is the shortest time between two pings.
const pingLeast = 100 * time.Millisecond

// timersOf are the guard's timers, and a ticker by which systemd's watchdog is kept quiet.
func timersOf(g *guard) (retry, limit <-chan time.Time, ping *time.Ticker) {
	ping = time.NewTicker(time.Hour)
	if g == nil {
		return nil, nil, ping
	}
	if us, err := strconv.Atoi(valueOf(g.o.Env, "WATCHDOG_USEC")); err == nil && us > 0 {
		ping.Reset(max(time.Duration(us)*time.Microsecond/3, pingLeast))
	}
	return g.retry.C, g.limit.C, ping
}

// ended takes in which children have ended.
func (k *Keeper) ended(orphans bool) {
	for _, pid := range k.children.look(orphans) {
		if k.guard == nil || !k.guard.ended(pid) {
			k.tell(k.current, packet{Kind: kindEnded, PID: pid})
		}
	}
}

// tellSystemd says how it stands to systemd, if that is who started us.
func tellSystemd(state string) {
	_, _ = daemon.SdNotify(false, state) // without systemd there is nobody to tell
}

// Local runs a keeper in this process, for tests: processes are forked on the thread of the goroutine that calls run, which it locks.
// stop ends it.
func Local(log hclog.Logger) (c *Client, run func(), stop func(), err error) {
	k := newKeeper(log)
	ours, theirs, err := pair()
	if err != nil {
		return nil, nil, nil, err
	}
	conn, err := connOf(theirs)
	if err != nil {
		ours.Close()
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.current = k.attach(ours, 0)
	return newClient(conn), func() {
		k.run(ctx, false)
		ours.Close()
		go func() { // the reader may be about to hand its last word over
			for range k.inbox {
			}
		}()
		k.readers.Wait()
		close(k.inbox)
	}, cancel, nil
}

// Ready says that the node serves.
func (c *Client) Ready() error {
	_, err := c.ask(packet{Kind: kindReady}, nil)
	return err
}

// Upgrade has the binary at path started beside this node. It returns once that is on its way; Yield tells when this node is to let go.
func (c *Client) Upgrade(path string) error {
	body, err := json.Marshal(path)
	if err != nil {
		return err
	}
	_, err = c.ask(packet{Kind: kindUpgrade, Body: body}, nil)
	return err
}

// Yield is closed when this node is to let go of everything but what crosses it.
func (c *Client) Yield() <-chan struct{} { return c.yield }

// Yielded says that this node has let go of everything.
func (c *Client) Yielded() error {
	_, err := c.ask(packet{Kind: kindYielded}, nil)
	return err
}

// Outcome returns what came out of the last upgrade.
func (c *Client) Outcome() (Outcome, error) {
	a, err := c.ask(packet{Kind: kindOutcome}, nil)
	if err != nil {
		return Outcome{}, err
	}
	var o Outcome
	err = json.Unmarshal(a.Body, &o)
	return o, err
}
