package mux

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func pass(t *testing.T, k Key, role string, ttl time.Duration) *Pass {
	t.Helper()
	text, made, err := k.NewPass("alice", role, ttl, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParsePass(text)
	if err != nil || p.Identity != made.Identity {
		t.Fatalf("%+v is read as %+v, %v", made, p, err)
	}
	return p
}

// firstRead is what the dialing side is told: in TLS 1.3 it learns at its first read whether it was let in.
func firstRead(t *testing.T, c net.Conn) error {
	t.Helper()
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

func TestOperatorsComeIn(t *testing.T) {
	k := newKey(t)
	m := open(t, &k, "b")
	l := m.Listen(Operator)
	for _, role := range []string{RoleAdmin, RoleViewer} {
		p := pass(t, k, role, time.Hour)
		c, err := p.Dial(t.Context(), m.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if who, ok := PeerOf(s); !ok || who != p.Identity || who.Name != "alice" || who.Role != role {
			t.Errorf("seen as %+v, %v; want %+v", who, ok, p.Identity)
		}
		if _, err := io.WriteString(s, "x"); err != nil {
			t.Error(err)
		}
		if err := firstRead(t, c); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		_ = s.Close()
	}
}

// TestOperatorsGetNothingElse tries every protocol of the servers with every certificate that is none of a server, and the operators' with those of a
// server, of another cluster, without any, and with one that has expired.
func TestOperatorsGetNothingElse(t *testing.T) {
	k, other := newKey(t), newKey(t)
	m := open(t, &k, "b")
	for _, p := range append(protocols(), Operator) {
		m.Listen(p)
	}
	refused := 0
	try := func(what string, config *tls.Config, p Protocol) {
		t.Helper()
		refused++
		config = config.Clone()
		config.NextProtos, config.InsecureSkipVerify = []string{alpn(p)}, true
		c, err := tls.Dial("tcp", m.Addr().String(), config)
		if err == nil {
			err = firstRead(t, c)
		}
		if err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s opens a stream of %s", what, p)
		}
	}
	for _, role := range []string{RoleAdmin, RoleViewer} {
		for _, p := range protocols() {
			try("a pass of the role "+role, pass(t, k, role, time.Hour).config, p)
		}
	}
	server, err := m.secure.Load().dialer.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	try("a server", &tls.Config{Certificates: []tls.Certificate{*server}}, Operator)
	try("somebody of another cluster", pass(t, other, RoleAdmin, time.Hour).config, Operator)
	try("somebody whose time is over", pass(t, k, RoleAdmin, -time.Second).config, Operator)
	try("somebody of another role", pass(t, k, "auditor", time.Hour).config, Operator)
	try("somebody without a certificate", &tls.Config{}, Operator)
	waitFor(t, func() bool { return m.Stats() == Stats{Refused: uint64(refused)} })
}

// TestNobodyPlaysAServer: a pass is of no use to those who would answer in a server's place.
func TestNobodyPlaysAServer(t *testing.T) {
	k := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bad := pass(t, k, RoleAdmin, time.Hour)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := tls.Server(c, &tls.Config{Certificates: bad.config.Certificates, NextProtos: []string{alpn(Operator), alpn(API)}})
			_ = s.SetDeadline(time.Now().Add(10 * time.Second))
			_ = s.Handshake()
			_ = s.Close()
		}
	}()
	if _, err := pass(t, k, RoleViewer, time.Hour).Dial(t.Context(), l.Addr().String()); err == nil {
		t.Error("an operator takes another for a server")
	}
	m := open(t, &k, "a")
	if _, err := m.Dial(t.Context(), API, l.Addr().String()); err == nil {
		t.Error("a server takes an operator for a server")
	}
	_ = l.Close()
	<-done
}

func TestOperatorsWithoutAKey(t *testing.T) {
	k := newKey(t)
	plain := open(t, nil, "plain")
	plain.Listen(Operator)
	if _, err := pass(t, k, RoleAdmin, time.Hour).Dial(t.Context(), plain.Addr().String()); !errors.Is(err, ErrPeerInsecure) {
		t.Errorf("got %v", err)
	}
	other := newKey(t)
	m := open(t, &other, "other")
	if _, err := pass(t, k, RoleAdmin, time.Hour).Dial(t.Context(), m.Addr().String()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("got %v", err)
	}
}

func TestNoPass(t *testing.T) {
	k := newKey(t)
	text, _, err := k.NewPass("alice", RoleAdmin, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "half": text[:len(text)/3], "no authority": text[:2*len(text)/3], "a key": []byte(k.String())} {
		if _, err := ParsePass(bad); !errors.Is(err, ErrNoPass) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := k.NewPass("", RoleAdmin, time.Hour, time.Now()); err == nil {
		t.Error("a pass for nobody")
	}
}
