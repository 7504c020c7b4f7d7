package mux

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Admit is what is spoken with those who have no cluster key yet (package admit). It is not among the protocols of a Dial: nobody's certificate is
// asked for, so that a stream of it never becomes one of another.
const Admit Protocol = "admit"

// FingerprintSize is the length of Key.Fingerprint in bytes.
const FingerprintSize = 16

// bindingSize is the length of a Stranger's binding in bytes.
const bindingSize = 32

var (
	// ErrOtherAuthority says that a server does not belong to the cluster whose fingerprint was given.
	ErrOtherAuthority = errors.New("the other side is no server of the cluster that was named")
	// ErrNoAdmission says that a server takes nobody in who has no key.
	ErrNoAdmission = errors.New("the other side lets nobody in without the cluster key: its release is older")
)

// Stranger is a stream of the protocol Admit: TLS 1.3 on which the dialing side has shown no certificate. PeerOf knows nobody there.
type Stranger struct {
	*tls.Conn
	binding []byte
}

// Binding returns 32 bytes that both ends of this very TLS connection have, and nobody else (the exporter of RFC 8446, 7.5): two connections that
// somebody in between joins have two different ones.
func (s *Stranger) Binding() []byte { return s.binding }

// SignedBy reports whether the accepting side's certificate is of the cluster with that key. Only the dialing side may ask.
func (s *Stranger) SignedBy(k Key) bool {
	authority, err := newAuthority(k.authority())
	certs := s.ConnectionState().PeerCertificates
	return err == nil && len(certs) > 0 && signedBy(certs[0], authority) == nil
}

// Fingerprint names the cluster of the key without giving anything of it away: the beginning of the SHA-256 of its authority's certificate.
func (k Key) Fingerprint() ([]byte, error) {
	authority, err := newAuthority(k.authority())
	if err != nil {
		return nil, err
	}
	return fingerprint(authority), nil
}

func fingerprint(cert *x509.Certificate) []byte {
	sum := sha256.Sum256(cert.Raw)
	return sum[:FingerprintSize]
}

// signedBy checks a leaf as the TLS library does for the other protocols.
func signedBy(leaf, authority *x509.Certificate) error {
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: peerServerName, CurrentTime: present(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// forStrangers is the accepting side's configuration for Admit alone, so that the one for everything else stays as strict as it is. It gives no
// session to resume, and shows the authority's certificate too, which a newcomer may know by its fingerprint.
func (c *credentials) forStrangers(own tls.Certificate, authority *x509.Certificate) *tls.Config {
	own.Certificate = [][]byte{own.Certificate[0], authority.Raw}
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		CurvePreferences:       keyExchange(),
		NextProtos:             []string{alpn(Admit)},
		ClientAuth:             tls.NoClientCert,
		SessionTicketsDisabled: true,
		Certificates:           []tls.Certificate{own},
	}
}

// choose returns the configuration for a client that offers Admit and nothing else; all others get the strict one.
func (c *credentials) choose(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == alpn(Admit) {
		return c.strangers, nil
	}
	return nil, nil
}

// newStranger returns the stream after its handshake.
func newStranger(c *tls.Conn) (*Stranger, error) {
	state := c.ConnectionState()
	binding, err := state.ExportKeyingMaterial("EXPORTER-meshnode-admit", nil, bindingSize)
	if err != nil {
		return nil, fmt.Errorf("bind the two ends of a stream: %w", err)
	}
	return &Stranger{Conn: c, binding: binding}, nil
}

// DialAdmit opens a stream of Admit to a server, addr being "host:port", for one that has no key. With a fingerprint the server has proved when
// DialAdmit returns that it belongs to that cluster, else the error is ErrOtherAuthority; with nil nothing is known of it. It blocks as Mux.Dial
// does. The caller owns the stream. errors.Is also tells ErrPeerInsecure and ErrNoAdmission.
func DialAdmit(ctx context.Context, addr string, cluster []byte) (*Stranger, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	d.SetMultipathTCP(false)
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s of %s: %w", Admit, addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn := tls.Client(raw, &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: keyExchange(),
		NextProtos:       []string{alpn(Admit)},
		ServerName:       peerServerName,
		// There is nothing yet to verify it with. Who is there is found out by the fingerprint below, or by the code that people carry (package admit).
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verifyCluster(s.PeerCertificates, cluster) },
	})
	var s *Stranger
	if err = conn.HandshakeContext(ctx); err == nil {
		s, err = newStranger(conn)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("dial %s of %s: %w", Admit, addr, explainAdmit(err))
	}
	return s, nil
}

// verifyCluster checks that a chain of leaf and authority is of the cluster with that fingerprint.
func verifyCluster(chain []*x509.Certificate, cluster []byte) error {
	if cluster == nil {
		return nil
	}
	if len(chain) != 2 || subtle.ConstantTimeCompare(fingerprint(chain[1]), cluster) != 1 {
		return ErrOtherAuthority
	}
	if err := signedBy(chain[0], chain[1]); err != nil {
		return fmt.Errorf("%w: %w", ErrOtherAuthority, err)
	}
	if who, ok := identityOf(chain[0]); !ok || who.Role != RoleServer {
		return ErrOtherAuthority
	}
	return nil
}

func explainAdmit(err error) error {
	switch {
	case errors.Is(err, ErrOtherAuthority):
		return err
	case strings.Contains(err.Error(), "no application protocol"): // the alert has no type of its own
		return ErrNoAdmission
	}
	return explain(err)
}
