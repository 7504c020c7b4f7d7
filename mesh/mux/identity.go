package mux

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Limits of an Identity's fields in bytes; they also fix the length of the plain preamble.
const (
	maxID   = 64
	maxName = 128
	maxRole = 16
)

// Identity says who a peer is.
type Identity struct {
	// ID is the node's own identifier, made once with its data folder and never reused, such as "s1-3f2a9c1e". At most 64 bytes.
	ID string
	// Name is the node name, a label for people. At most 128 bytes.
	Name string
	// Role is what the node is in the cluster, RoleServer; see rolesOf. At most 16 bytes of a-z, 0-9 and "-".
	Role string
}

// validate reports every field that cannot be carried in a certificate or a preamble.
func (i Identity) validate() error {
	var errs []error
	check := func(field, value string, limit int) {
		switch {
		case value == "":
			errs = append(errs, fmt.Errorf("identity: no %s", field))
		case len(value) > limit:
			errs = append(errs, fmt.Errorf("identity: %s is longer than %d bytes", field, limit))
		case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			errs = append(errs, fmt.Errorf("identity: %s holds characters that cannot be printed", field))
		}
	}
	check("id", i.ID, maxID)
	check("name", i.Name, maxName)
	check("role", i.Role, maxRole)
	if strings.ContainsFunc(i.Role, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-') }) {
		errs = append(errs, errors.New("identity: role may hold a-z, 0-9 and - only"))
	}
	return errors.Join(errs...)
}

// uri returns the identity as it stands in a certificate: meshnode://role/name/id.
func (i Identity) uri() *url.URL {
	return &url.URL{
		Scheme:  "meshnode",
		Host:    i.Role,
		Path:    "/" + i.Name + "/" + i.ID,
		RawPath: "/" + url.PathEscape(i.Name) + "/" + url.PathEscape(i.ID),
	}
}

// identityOf reads the identity from a certificate that has been verified already.
func identityOf(cert *x509.Certificate) (Identity, bool) {
	for _, u := range cert.URIs {
		if u.Scheme != "meshnode" {
			continue
		}
		name, id, ok := strings.Cut(strings.TrimPrefix(u.EscapedPath(), "/"), "/")
		if !ok {
			return Identity{}, false
		}
		who := Identity{Role: u.Host}
		var errName, errID error
		who.Name, errName = url.PathUnescape(name)
		who.ID, errID = url.PathUnescape(id)
		return who, errName == nil && errID == nil && who.validate() == nil
	}
	return Identity{}, false
}

// NameOf is the node name of PeerOf, "" where that is false.
func NameOf(c net.Conn) string {
	who, _ := PeerOf(c)
	return who.Name
}

// PeerName is the node name in the certificate of the other side.
func (c *secureConn) PeerName() string { return c.peer.Name }

// PeerName is the node name that the other side gave itself.
func (c *plainConn) PeerName() string { return c.peer.Name }

// PeerOf returns who is at the other end of a stream that came from a Listener or from Dial of this package: from the verified certificate,
// or in insecure mode from what the peer said of itself. It is false for any other connection.
func PeerOf(c net.Conn) (Identity, bool) {
	switch c := c.(type) {
	case *plainConn:
		return c.peer, true
	case *secureConn:
		return c.peer, c.peer != Identity{}
	}
	return Identity{}, false
}
