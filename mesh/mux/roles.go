package mux

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// Roles.
const (
	// RoleServer is the role of a server of the cluster. Whoever accepts streams has it.
	RoleServer = "server"
	// RoleAdmin and RoleViewer are those of operators, who may speak Operator and nothing else.
	RoleAdmin  = "admin"
	RoleViewer = "viewer"
)

// rolesOf says who may open streams of a protocol, by the role in the certificate (without a key: by what the peer says of itself). A protocol that
// is not here is open to nobody.
func rolesOf(p Protocol) []string {
	switch p {
	case Gossip, Raft, Forward, API, Load, Datagram:
		return []string{RoleServer}
	case Operator:
		return []string{RoleAdmin, RoleViewer}
	}
	return nil
}

// errRole says that whoever is at the other end has a role that this protocol is not for.
var errRole = errors.New("the other side's role may not use this protocol")

// mayOpen is asked before anything that speaks the protocol sees a stream.
func mayOpen(p Protocol, role string) error {
	if !slices.Contains(rolesOf(p), role) {
		return fmt.Errorf("%w: %q, %s", errRole, role, p)
	}
	return nil
}

// mayAnswer is asked of the stream that this side has dialed: with the certificate of anybody but a server nobody can play one.
func mayAnswer(c net.Conn) error {
	if who, ok := PeerOf(c); ok && who.Role != RoleServer {
		return fmt.Errorf("%w: %q answers", errRole, who.Role)
	}
	return nil
}
