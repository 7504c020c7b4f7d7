package supervisor

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// baggage is what a process takes along at its fork: descriptors for itself, and those that the keeper keeps for whoever follows this node.
type baggage struct {
	theirs []*os.File // standard input, output, error, and what comes after
	cgroup int        // folder of its cgroup; -1 = none
	kept   []int      // our ends: output, errors, notify socket, and the IPC channel if there is one
	env    []string
}

// pack makes the pipes, sockets and channels between the node and the process.
func (b *baggage) pack(p *process, s *slot) error {
	var err error
	if b.cgroup, err = s.sup.groups.make(p.number, p.spec.Account.Limits); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open the worker's standard input: %w", err)
	}
	b.theirs = append(b.theirs, null)
	if err := b.packOutput(p, s); err != nil {
		return err
	}
	if p.notify, err = newNotifier(p.run, p.user); err != nil {
		return err
	}
	b.kept, b.env = append(b.kept, number(p.notify.conn)), append(b.env, "NOTIFY_SOCKET="+p.notify.addr)
	if p.inherit != nil {
		b.theirs = append(b.theirs, p.inherit)
		b.env = append(b.env, "LISTEN_FDS=1", "LISTEN_FDNAMES="+p.App)
	}
	if p.spec.Mode == ModeCluster {
		return b.packChannel(p, s)
	}
	return nil
}

// packOutput makes the pipes of standard output and error.
func (b *baggage) packOutput(p *process, s *slot) error {
	out, theirOut, err := output.Pipe()
	if err != nil {
		return err
	}
	b.theirs = append(b.theirs, theirOut)
	errs, theirErr, err := output.Pipe()
	if err != nil {
		out.Close()
		return err
	}
	b.theirs, b.kept = append(b.theirs, theirErr), append(b.kept, number(out), number(errs))
	p.openLogs(s, out, errs, [2][]byte{})
	return nil
}

// packChannel makes what the worker's Node.js processes are spoken to by.
func (b *baggage) packChannel(p *process, s *slot) error {
	var ours *net.UnixConn
	if inherits(p.spec.Command) {
		mine, inherited, err := nodeipc.Pair()
		if err != nil {
			return err
		}
		ours = mine
		b.theirs, b.kept = append(b.theirs, inherited), append(b.kept, number(ours))
		b.env = append(b.env, nodeipc.Environ(ipcFD, p.number)...)
	}
	dir := s.sup.runDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.log.Warn("processes that the app starts bind their own ports", "err", err)
	}
	var err error
	if p.Channel, err = nodeipc.NewFamily(ours, dir, strconv.Itoa(p.number), p.user, handler{p}); err != nil {
		s.log.Warn("processes that the app starts bind their own ports", "err", err)
	}
	b.env = append(b.env, p.Channel.Environ()...)
	return nil
}

// all are the descriptors as the keeper wants them.
func (b *baggage) all() []int {
	var out []int
	for _, f := range b.theirs {
		out = append(out, number(f))
	}
	if b.cgroup >= 0 {
		out = append(out, b.cgroup)
	}
	return append(out, b.kept...)
}

// close closes what is the process's own.
func (b *baggage) close() {
	for _, f := range b.theirs {
		f.Close()
	}
	if b.cgroup >= 0 {
		unix.Close(b.cgroup)
	}
}

// number is the descriptor of an open file or socket, without Go's side effects: File.Fd would make it blocking.
func number(c syscall.Conn) int {
	out := -1
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { out = int(fd) })
	}
	return out
}

// account is a user that a worker runs as.
type account struct {
	keeper.Account
	name, home string
}

// env tells programs who they are.
func (a *account) env() []string {
	if a == nil || a.name == "" {
		return nil
	}
	return []string{"USER=" + a.name, "LOGNAME=" + a.name, "HOME=" + a.home}
}

// accountOf finds the user and group of a worker; nil = the node's own.
func accountOf(want Account) (*account, error) {
	if want.User == "" && want.Group == "" {
		return nil, nil
	}
	a := &account{Account: keeper.Account{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}}
	if want.User != "" {
		if err := a.become(want.User); err != nil {
			return nil, err
		}
	}
	if want.Group != "" {
		g, err := user.LookupGroup(want.Group)
		if err != nil {
			g, err = user.LookupGroupId(want.Group)
		}
		gid, perr := strconv.ParseUint(want.Group, 10, 32)
		switch {
		case err == nil:
			gid, _ = strconv.ParseUint(g.Gid, 10, 32)
		case perr != nil:
			return nil, fmt.Errorf("there is no group %q on this server", want.Group)
		}
		a.GID = uint32(gid)
		if !slices.Contains(a.Groups, a.GID) {
			a.Groups = append(a.Groups, a.GID)
		}
	}
	if os.Getuid() != 0 && (int(a.UID) != os.Getuid() || int(a.GID) != os.Getgid()) {
		return nil, fmt.Errorf("only a node that runs as root can start workers as user %q, group %q", want.User, want.Group)
	}
	return a, nil
}

// become takes over a user, with all its groups.
func (a *account) become(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	if err != nil {
		uid, perr := strconv.ParseUint(name, 10, 32)
		if perr != nil {
			return fmt.Errorf("there is no user %q on this server", name)
		}
		a.UID, a.GID, a.Groups, a.name, a.home = uint32(uid), uint32(uid), []uint32{uint32(uid)}, name, "/"
		return nil
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	a.UID, a.GID, a.name, a.home, a.Groups = uint32(uid), uint32(gid), u.Username, u.HomeDir, nil
	ids, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("the groups of user %q: %w", name, err)
	}
	for _, id := range ids {
		g, _ := strconv.ParseUint(id, 10, 32)
		a.Groups = append(a.Groups, uint32(g))
	}
	return nil
}
