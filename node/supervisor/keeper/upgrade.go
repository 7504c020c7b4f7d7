package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxRetired bounds the former nodes that carry connections to their end (count).
const maxRetired = 8

// Outcome is what came out of an upgrade.
type Outcome struct {
	Path    string `json:"path"`    // Path of the binary, empty when there was no upgrade.
	Running bool   `json:"running"` // Running: it is not over.
	Error   string `json:"error"`   // Error is why it failed, empty when it did not.
}

// upgrade starts a successor beside the node. The node goes on until the successor has said that it is able to start.
func (g *guard) upgrade(r request) error {
	switch {
	case g.heir != nil:
		return errors.New("another upgrade is under way")
	case g.node == nil || r.from != g.node.link || !g.node.ready || g.asked || g.end.stopping:
		return errors.New("the node is starting or ending")
	case len(g.retired) >= maxRetired:
		return fmt.Errorf("%d former binaries still carry connections to their end; try again later", len(g.retired))
	}
	var path string
	if err := json.Unmarshal(r.p.Body, &path); err != nil {
		return err
	}
	exe, err := openProgram(path)
	if err != nil {
		return err
	}
	heir, err := g.launch(exe, true)
	if err != nil {
		exe.Close()
		return err
	}
	g.heir = heir
	g.outcome = Outcome{Path: path, Running: true}
	g.limit.Reset(g.limits.standby)
	return nil
}

// standby takes in that the successor is able to start: its request is answered when its turn has come.
func (g *guard) standby(r request) {
	if g.heir == nil || g.node == nil || r.from != g.heir.link || g.asked {
		return
	}
	g.asked = true
	g.heir.link.standby = r.p.ID
	g.limit.Reset(g.limits.yield)
	g.k.tell(g.node.link, packet{Kind: kindYield})
}

// yielded takes in that the node has let go of everything: it is the successor's turn, or, if that has died meanwhile, the former binary's
// again, in a new process.
func (g *guard) yielded(from *link) {
	if !g.asked || g.node == nil || from != g.node.link {
		return
	}
	g.retired[g.node.pid] = g.node
	g.node, g.asked, g.k.current = nil, false, nil
	g.limit.Stop()
	switch {
	case g.heir != nil:
		g.k.current = g.heir.link
		g.limit.Reset(g.limits.start)
		g.k.tell(g.heir.link, packet{ID: g.heir.link.standby, Kind: kindAnswer})
	case g.end.stopping:
		g.end.over = true
	default:
		g.begin()
	}
}

// late ends an upgrade that does not come on.
func (g *guard) late() {
	switch {
	case g.asked && g.node != nil:
		g.k.log.Error("the node does not let go, and is ended", "dur", g.limits.yield)
		g.abandon(fmt.Sprintf("the present node did not let go within %s", g.limits.yield))
		g.k.children.signal(g.node.pid, syscall.SIGKILL) // half of it has ended; a new one takes over what is kept
	case g.heir == nil:
	case g.node != nil:
		g.abandon(fmt.Sprintf("it was not able to start within %s", g.limits.standby))
	default: // the former binary takes over when it has ended: two cannot have the data folder
		g.heir.why = fmt.Sprintf("it did not serve within %s", g.limits.start)
		g.k.children.signal(g.heir.pid, syscall.SIGKILL)
	}
}

// heirEnded has the former binary take over again, if the present node had let go already. If it is about to, yielded does so.
func (g *guard) heirEnded(status unix.WaitStatus) {
	why := g.heir.why
	if why == "" {
		why = "it ended before it served: " + words(status)
	}
	g.failed(why)
	if g.node == nil {
		g.begin()
	}
}

// abandon gives an upgrade up.
func (g *guard) abandon(why string) {
	if g.heir == nil {
		return
	}
	g.retired[g.heir.pid] = g.heir
	g.k.children.signal(g.heir.pid, syscall.SIGKILL)
	g.failed(why)
}

// failed notes what became of the upgrade.
func (g *guard) failed(why string) {
	g.k.log.Error("upgrade failed", "path", g.outcome.Path, "reason", why)
	g.outcome.Running, g.outcome.Error = false, why
	if !g.asked { // else the node is still to let go
		g.limit.Stop()
	}
	if g.k.current == g.heir.link && g.node != g.heir {
		g.k.current = nil
	}
	g.heir.exe.Close()
	g.heir = nil
}
