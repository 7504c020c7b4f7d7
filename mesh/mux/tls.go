package mux

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// sessionsKept is how many peers' TLS sessions are remembered so that a further dial skips the certificates.
const sessionsKept = 512

var (
	errNoIdentity = errors.New("the other side's certificate names no node")
	errNoProtocol = errors.New("no protocol was agreed on")
)

// credentials is the secure side of a Mux: immutable after newCredentials. While the cluster key is replaced
// there are two keys: this side signs with the first, and takes what is signed with either.
type credentials struct {
	keys      []Key
	server    *tls.Config
	strangers *tls.Config // for those who have no key yet
	dialer    *tls.Config
	sessions  tls.ClientSessionCache
}

func newCredentials(self Identity, key Key, also ...Key) (*credentials, error) {
	signer := key.authority()
	authority, err := newAuthority(signer)
	if err != nil {
		return nil, err
	}
	own, err := newLeaf(self, authority, signer)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	for _, k := range also {
		other, err := newAuthority(k.authority())
		if err != nil {
			return nil, err
		}
		pool.AddCert(other)
	}
	c := &credentials{keys: append([]Key{key}, also...), sessions: tls.NewLRUClientSessionCache(sessionsKept)}
	c.server = &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: keyExchange(),
		// Small records at first help a browser to show something early, and cost what relays twice the work.
		DynamicRecordSizingDisabled: true,
		ClientAuth:                  tls.RequireAndVerifyClientCert,
		ClientCAs:                   pool,
		GetCertificate:              func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return own, nil },
		Time:                        present,
	}
	c.strangers = c.forStrangers(*own, authority)
	c.server.GetConfigForClient = c.choose
	for _, p := range append(protocols(), Operator) {
		c.server.NextProtos = append(c.server.NextProtos, alpn(p))
	}
	c.dialer = &tls.Config{
		MinVersion:                  tls.VersionTLS13,
		CurvePreferences:            keyExchange(),
		DynamicRecordSizingDisabled: true,
		RootCAs:                     pool,
		ServerName:                  peerServerName,
		GetClientCertificate:        func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
		Time:                        present,
	}
	return c, nil
}

// keyExchange leaves the post-quantum hybrid out: a stream is dialed for every forwarded connection, and the hybrid makes up 40 % of the
// processor time of a resumed dial.
func keyExchange() []tls.CurveID { return []tls.CurveID{tls.X25519} }

// client returns the configuration for one dial.
func (c *credentials) client(p Protocol, addr string) *tls.Config {
	cfg := c.dialer.Clone()
	cfg.NextProtos = []string{alpn(p)}
	cfg.ClientSessionCache = peerSessions{cache: c.sessions, addr: addr}
	return cfg
}

// peerSessions keys remembered sessions by the peer's address: the TLS library would key them by the server name, which all peers share.
type peerSessions struct {
	cache tls.ClientSessionCache
	addr  string
}

// Get implements tls.ClientSessionCache.
func (s peerSessions) Get(string) (*tls.ClientSessionState, bool) { return s.cache.Get(s.addr) }

// Put implements tls.ClientSessionCache.
func (s peerSessions) Put(_ string, state *tls.ClientSessionState) { s.cache.Put(s.addr, state) }

func alpn(p Protocol) string { return "meshnode-" + string(p) + "/1" }

func protocolOf(negotiated string) (Protocol, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(negotiated, "meshnode-"), "/1")
	for _, p := range append(protocols(), Operator) {
		if string(p) == name && alpn(p) == negotiated {
			return p, true
		}
	}
	return "", false
}

// explain turns a handshake error into one that names the cause where it is known.
func explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return ErrWrongKey
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the other side's certificate is not valid now, check the clocks of both servers: %w", err)
	case errors.As(err, &header) && isMagic(header.RecordHeader[:]):
		return ErrPeerInsecure
	}
	return fmt.Errorf("handshake: %w", err)
}
