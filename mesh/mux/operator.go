package mux

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"time"
)

// Operator is what people speak who come with a certificate of their own (NewPass). No server dials it.
const Operator Protocol = "operator"

// passBack is how long before it is made a pass counts, for clocks that are behind.
const passBack = time.Hour

// Errors of Pass.Dial that callers branch on.
var (
	// ErrNoPass says that a text holds no pass.
	ErrNoPass = errors.New("this is no operator's certificate with its private key, as meshnode operator create writes it")
	// ErrNoOperators says that a server lets no operators in.
	ErrNoOperators = errors.New("the other side lets nobody in from elsewhere: its release is older")
)

// Pass is what lets an operator in from elsewhere: a certificate of the cluster's authority with its private key.
type Pass struct {
	// Identity is who it is of: ID is the serial number, Name the operator's, Role RoleAdmin or RoleViewer.
	Identity
	// Expires is when it ends to count.
	Expires time.Time

	config *tls.Config
}

// NewPass makes a pass, and returns it as PEM: certificate, private key and the authority's certificate. It is the secret: it is kept nowhere else.
// It says what a client is and cannot be used to play a server.
func (k Key) NewPass(name, role string, ttl time.Duration, now time.Time) ([]byte, *Pass, error) {
	authority, err := newAuthority(k.authority())
	if err != nil {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make an operator's key: %w", err)
	}
	number := make([]byte, 15)
	if _, err := rand.Read(number); err != nil {
		return nil, nil, fmt.Errorf("make a serial number: %w", err)
	}
	number[0] = number[0]&0x3f | 0x40 // the same length in every form
	who := Identity{ID: hex.EncodeToString(number), Name: name, Role: role}
	if err := who.validate(); err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number),
		Subject:      pkix.Name{CommonName: "meshnode operator"},
		NotBefore:    now.Add(-passBack),
		NotAfter:     now.Add(ttl),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:         []*url.URL{who.uri()},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), k.authority())
	if err != nil {
		return nil, nil, fmt.Errorf("sign an operator's certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("write an operator's key: %w", err)
	}
	var b bytes.Buffer
	for _, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}, {Type: "CERTIFICATE", Bytes: authority.Raw}} {
		b.Write(pem.EncodeToMemory(block))
	}
	pass, err := ParsePass(b.Bytes())
	return b.Bytes(), pass, err
}

// ParsePass reads what NewPass has made. Every error is an ErrNoPass.
func ParsePass(text []byte) (*Pass, error) {
	pair, err := tls.X509KeyPair(text, text)
	if err != nil || len(pair.Certificate) != 2 {
		return nil, ErrNoPass
	}
	authority, err := x509.ParseCertificate(pair.Certificate[1])
	who, ok := identityOf(pair.Leaf)
	if err != nil || !ok || !authority.IsCA {
		return nil, ErrNoPass
	}
	pair.Certificate = pair.Certificate[:1]
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	return &Pass{Identity: who, Expires: pair.Leaf.NotAfter, config: &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      pool,
		ServerName:   peerServerName,
		NextProtos:   []string{alpn(Operator)},
		Certificates: []tls.Certificate{pair},
	}}, nil
}

// Dial opens a stream to a server of the cluster, addr being "host:port". It blocks as Mux.Dial does. The caller owns the stream. Whether the other
// side accepts the pass shows at the first read. errors.Is tells ErrWrongKey, ErrPeerInsecure and ErrNoOperators.
func (p *Pass) Dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	d.SetMultipathTCP(false)
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s of %s: %w", Operator, addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn := tls.Client(raw, p.config.Clone())
	if err = conn.HandshakeContext(ctx); err == nil {
		err = serverAnswers(conn)
	}
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("dial %s of %s: %w", Operator, addr, explainOperator(err))
	}
	return conn, nil
}

// serverAnswers makes sure that it is a server that answers, and not somebody with another certificate of the cluster.
func serverAnswers(c *tls.Conn) error {
	if who, ok := identityOf(c.ConnectionState().PeerCertificates[0]); !ok || who.Role != RoleServer {
		return errNoIdentity
	}
	return nil
}

func explainOperator(err error) error {
	if strings.Contains(err.Error(), "no application protocol") { // the alert has no type of its own
		return ErrNoOperators
	}
	return explain(err)
}
