package mux

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// peerServerName is a DNS name that every leaf carries: clients verify it instead of an address, because the authority alone decides who is a
// peer and nodes change their addresses.
const peerServerName = "peer.meshnode.internal"

// A leaf is valid from leafBack before it is made, for clocks that are behind, to leafAhead after; it is made anew at half of leafAhead.
const (
	leafBack  = 365 * 24 * time.Hour
	leafAhead = 365 * 24 * time.Hour
)

// newAuthority makes the certificate of the cluster's authority. Its key, names, serial number and dates are fixed and Ed25519 signatures are
// deterministic: every node makes the very same certificate.
func newAuthority(key ed25519.PrivateKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "meshnode cluster authority"},
		NotBefore:             time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the cluster authority: %w", err)
	}
	return x509.ParseCertificate(der)
}

// leaf makes this node's certificate and makes it anew when half of its time is gone.
type leaf struct {
	self      Identity
	authority *x509.Certificate
	signer    ed25519.PrivateKey
	now       func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	renewAt time.Time
}

// certificate returns the current certificate, making a new one when it is due or when the clock was set back before its beginning.
func (l *leaf) certificate() (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.current != nil && now.Before(l.renewAt) && now.After(l.current.Leaf.NotBefore) {
		return l.current, nil
	}
	made, err := l.mint(now)
	if err != nil {
		return nil, err
	}
	l.current, l.renewAt = made, now.Add(leafAhead/2)
	return made, nil
}

func (l *leaf) mint(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a peer key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "meshnode peer"},
		NotBefore:    now.Add(-leafBack),
		NotAfter:     now.Add(leafAhead),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{peerServerName},
		URIs:         []*url.URL{l.self.uri()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, l.authority, key.Public(), l.signer)
	if err != nil {
		return nil, fmt.Errorf("sign the peer certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the peer certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}
