package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/api"
)

// localWarnings are what the operator should see to on this node.
func (n *Node) localWarnings(l api.LocalStatus) []api.Warning {
	var out []api.Warning
	for _, x := range l.Listeners {
		if x.State == api.ListenerFailed {
			remedy := "stop that program, or give the app another port"
			if strings.Contains(x.Error, "may not") {
				remedy = "run meshnode as root, or give its binary the right: setcap cap_net_bind_service=+ep"
			}
			out = append(out, api.Warning{App: x.App, What: fmt.Sprintf("%s: %s is not open on %s: %s", x.App, x.Addr, x.Node, x.Error), Remedy: remedy})
		}
	}
	for _, s := range n.sup.Status() {
		if s.Ill != "" {
			out = append(out, api.Warning{App: s.App, What: fmt.Sprintf("%s/%d on %s gets no connections: %s", s.App, s.Slot, n.s.Node, s.Ill),
				Remedy: "it is replaced by itself if that lasts; see: meshnode logs " + s.App})
		}
	}
	out = append(out, n.outputWarnings()...)
	out = append(out, n.auditWarnings()...)
	out = append(out, n.secretWarnings()...)
	out = append(out, n.hungWarnings()...)
	out = append(out, n.uncaughtWarnings()...)
	out = append(out, n.ejectionWarnings(time.Now())...)
	out = append(out, n.shortageWarnings()...)
	out = append(out, n.configurationWarnings()...)
	slices.SortFunc(out, func(a, b api.Warning) int { return strings.Compare(a.What, b.What) })
	return out
}

// configurationWarnings are about the disk of the configuration, and how this node follows it.
func (n *Node) configurationWarnings() []api.Warning {
	var out []api.Warning
	if w, full := n.fullDisk(); full {
		out = append(out, w)
	}
	st := n.store.Status()
	if st.SlowDisk > 0 {
		out = append(out, api.Warning{What: fmt.Sprintf("the disk of %s is slow: a change of the configuration took %s to write", n.s.Node, st.SlowDisk.Round(100*time.Millisecond)),
			Remedy: "see what else writes there, or move -data-dir; until then another server leads"})
	}
	if f := st.DiskFault; f != nil {
		out = append(out, api.Warning{What: fmt.Sprintf("the disk of %s fails, and it takes no part in changes of the configuration: %v", n.s.Node, f),
			Remedy: "see the kernel's messages (dmesg) and replace the disk; traffic goes on, and once the disk works again so does all else"})
	}
	if f := st.Fault; f != nil {
		out = append(out, api.Warning{What: fmt.Sprintf("%s does not follow the configuration: %v", n.s.Node, f), Remedy: "use the same release of meshnode on all servers"})
	}
	return out
}

// leastFree is how little room there is on the disk of the data folder when it counts as full (bytes): less than one file of the log may grow by.
const leastFree = 1 << 20

// fullDisk warns of a disk that takes nothing more.
func (n *Node) fullDisk() (api.Warning, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(n.dir.path, &s); err != nil || s.Bavail*uint64(s.Bsize) >= leastFree {
		return api.Warning{}, false
	}
	return api.Warning{What: fmt.Sprintf("the disk of %s is full: %d KB are left for %s", n.s.Node, s.Bavail*uint64(s.Bsize)>>10, n.dir.path),
		Remedy: "make room there; it goes on by itself"}, true
}

// outputWarnings are about what workers print and nobody can store.
func (n *Node) outputWarnings() []api.Warning {
	var out []api.Warning
	for _, x := range n.sup.LogTroubles() {
		out = append(out, api.Warning{App: x.App, What: fmt.Sprintf("the output of %s on %s is not stored (%d lines so far): %s: %v", x.App, n.s.Node, x.Lost, x.Path, x.Err),
			Remedy: "make room there; it goes on by itself, and what is missing is told of in the log"})
	}
	return out
}
