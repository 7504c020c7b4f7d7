package api

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// Ways to a node.
const (
	ViaSocket = "socket" // the Unix socket: whoever may open it may do everything
	ViaRemote = "remote" // the peer port, with an operator's certificate
	ViaPeer   = "peer"   // the peer port, as one server asks another
)

// Roles of operators who come with a certificate.
const (
	RoleAdmin  = "admin"  // looks and changes
	RoleViewer = "viewer" // looks
)

// Caller is who makes a request. A peer's name and identity stand in Certificate and Serial; without a cluster key they are what it says of itself.
type Caller struct {
	Via         string `json:"via"`                   // one of the above; empty = a way that nobody has described, which gets nothing
	UID         int    `json:"uid"`                   // number of the user at the socket, as the kernel says; -1 = there is none
	User        string `json:"user,omitempty"`        // name of that user, where the server has one
	Login       string `json:"login,omitempty"`       // as whom that user has logged in, where the kernel remembers another: whoever is behind sudo
	PID         int    `json:"pid,omitempty"`         // process at the socket
	Certificate string `json:"certificate,omitempty"` // name in the certificate
	Role        string `json:"role,omitempty"`        // role in that certificate
	Serial      string `json:"serial,omitempty"`      // serial number of an operator's certificate, identity of a server
	From        string `json:"from,omitempty"`        // address it comes from
}

type callerKey struct{}

// CallerOf is who makes the request of a context.
func CallerOf(ctx context.Context) Caller {
	c, ok := ctx.Value(callerKey{}).(Caller)
	if !ok {
		return Caller{UID: -1}
	}
	return c
}

// withCaller keeps who is at the other end of a connection in the context of all its requests.
func withCaller(ctx context.Context, c net.Conn, of func(net.Conn) Caller) context.Context {
	if limited, ok := c.(*limitedConn); ok {
		c = limited.Conn
	}
	if of == nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, of(c))
}

// socketCaller asks the kernel who has opened a Unix socket. The answer is of the time when it was opened.
func socketCaller(c net.Conn) Caller {
	out := Caller{UID: -1}
	local, ok := c.(*net.UnixConn)
	if !ok {
		return out
	}
	out.Via = ViaSocket
	raw, err := local.SyscallConn()
	if err != nil {
		return out
	}
	var peer *syscall.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) {
		peer, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || asked != nil {
		return out // the mode of the socket has let it in; who it is stays unknown
	}
	out.UID, out.PID = int(peer.Uid), int(peer.Pid)
	return out
}

// named fills in who the user is by name, which takes a look at files.
func (c Caller) named() Caller {
	if c.UID < 0 {
		return c
	}
	number := strconv.Itoa(c.UID)
	c.User = userName(number)
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", c.PID)); err == nil {
		c.Login = loginOf(string(text), number)
	}
	return c
}

// noLogin is what the kernel says of processes that no login has started: services, and what runs in containers.
const noLogin = "4294967295"

// loginOf is who has logged in, by what the kernel says; empty if that is the user himself, or nobody.
func loginOf(text, self string) string {
	text = strings.TrimSpace(text)
	if text == noLogin || text == self {
		return ""
	}
	if _, err := strconv.ParseUint(text, 10, 32); err != nil {
		return ""
	}
	if name := userName(text); name != "" {
		return name
	}
	return "uid " + text
}

// userName is the name of a user by number, where the server has one.
func userName(number string) string {
	u, err := user.LookupId(number)
	if err != nil {
		return ""
	}
	return u.Username
}

// clip keeps what is recorded and repeated short, whatever was sent.
func clip(s string) string {
	const limit = 512
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
