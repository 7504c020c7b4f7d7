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
	"time"
)

// peerServerName is a DNS name that every leaf carries: clients verify it instead of an address, because the authority alone decides who is a
// peer and nodes change their addresses.
const peerServerName = "peer.meshnode.internal"

// From when and until when all certificates of servers are valid. No secret that time would weaken is in them: whoever could get a server's private key
// out of its memory could get the cluster key. So a server whose clock is wrong is not cut off from the others for that.
func validFrom() time.Time  { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }
func validUntil() time.Time { return time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC) }

// present is the time that certificates are checked by. A clock that starts in 1970 for want of a battery stands at the beginning of their validity.
func present() time.Time {
	if now := time.Now(); !now.Before(validFrom()) {
		return now
	}
	return validFrom()
}

// newAuthority makes the certificate of the cluster's authority. Its key, names, serial number and dates are fixed and Ed25519 signatures are
// deterministic: every node makes the very same certificate.
func newAuthority(key ed25519.PrivateKey) (*x509.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "meshnode cluster authority"},
		NotBefore:             validFrom(),
		NotAfter:              validUntil(),
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

// newLeaf makes a node's own certificate.
func newLeaf(self Identity, authority *x509.Certificate, signer ed25519.PrivateKey) (*tls.Certificate, error) {
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
		NotBefore:    validFrom(),
		NotAfter:     validUntil(),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{peerServerName},
		URIs:         []*url.URL{self.uri()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign the peer certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the peer certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}
