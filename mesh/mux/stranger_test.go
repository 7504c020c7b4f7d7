package mux

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

func TestStranger(t *testing.T) {
	k, other := newKey(t), newKey(t)
	b := open(t, &k, "b")
	l := b.Listen(Admit)
	print, err := k.Fingerprint()
	if err != nil || len(print) != FingerprintSize {
		t.Fatal(err)
	}
	for _, cluster := range [][]byte{nil, print} {
		c, err := DialAdmit(t.Context(), b.Addr().String(), cluster)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		s := a.(*Stranger)
		if len(c.Binding()) != bindingSize || !bytes.Equal(c.Binding(), s.Binding()) {
			t.Error("the two ends have different bindings")
		}
		if _, ok := PeerOf(s); ok {
			t.Error("a stranger is taken for a peer")
		}
		if _, ok := PeerOf(c); ok {
			t.Error("a server that was not verified is taken for a peer")
		}
		if !c.SignedBy(k) || c.SignedBy(other) {
			t.Error("the server's certificate is of another key")
		}
	}
	print[0]++
	if _, err := DialAdmit(t.Context(), b.Addr().String(), print); !errors.Is(err, ErrOtherAuthority) {
		t.Errorf("another cluster: %v", err)
	}
	insecure := open(t, nil, "c")
	insecure.Listen(Admit)
	if _, err := DialAdmit(t.Context(), insecure.Addr().String(), nil); !errors.Is(err, ErrPeerInsecure) {
		t.Errorf("a server without a key: %v", err)
	}
	if _, err := insecure.Dial(t.Context(), Admit, insecure.Addr().String()); err == nil {
		t.Error("a port without a key speaks it")
	}
}

// TestOneBindingForEachConnection is what tells somebody in between from the other end.
func TestOneBindingForEachConnection(t *testing.T) {
	k := newKey(t)
	b := open(t, &k, "b")
	b.Listen(Admit)
	seen := map[string]bool{}
	for range 3 {
		c, err := DialAdmit(t.Context(), b.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(c.Binding())] = true
		c.Close()
	}
	if len(seen) != 3 {
		t.Errorf("%d bindings of 3 connections", len(seen))
	}
}

// TestStrangersReachNothingElse offers other protocols without a certificate, beside Admit and in its place, and resumes what it can.
func TestStrangersReachNothingElse(t *testing.T) {
	k := newKey(t)
	b := open(t, &k, "b")
	var all []net.Listener
	for _, p := range protocols() {
		all = append(all, b.Listen(p))
	}
	all = append(all, b.Listen(Admit))
	sessions := tls.NewLRUClientSessionCache(8)
	try := func(offer ...string) (negotiated string, err error) {
		cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: offer, ClientSessionCache: sessions, ServerName: peerServerName}
		c, err := tls.Dial("tcp", b.Addr().String(), cfg)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1)) // whether the other side takes us shows here
		return c.ConnectionState().NegotiatedProtocol, err
	}
	for _, p := range protocols() {
		for _, offer := range [][]string{{alpn(p)}, {alpn(Admit), alpn(p)}, {alpn(p), alpn(Admit)}, {alpn(Admit), alpn(Admit)}} {
			if negotiated, err := try(offer...); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%v: %q, %v", offer, negotiated, err)
			}
		}
	}
	if _, err := try(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("without a protocol: %v", err)
	}
	c, err := DialAdmit(t.Context(), b.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a, err := all[len(all)-1].Accept()
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if s := b.Stats(); s.Accepted != 1 {
		t.Errorf("%d streams were given to somebody, want the one of %s", s.Accepted, Admit)
	}
}

func TestRoles(t *testing.T) {
	modes(t, func(t *testing.T, key *Key) {
		b := open(t, key, "b")
		viewer, err := Open(Options{Bind: "127.0.0.1:0", Key: key, Self: Identity{ID: "v", Name: "v", Role: "viewer"}})
		if err != nil {
			t.Fatal(err)
		}
		defer viewer.Close()
		server := open(t, key, "a")
		for i, p := range protocols() {
			b.Listen(p)
			viewer.Listen(p)
			c, err := viewer.Dial(t.Context(), p, b.Addr().String())
			if err == nil {
				if _, err = c.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s: something was said to a viewer", p)
				}
				c.Close()
			}
			waitFor(t, func() bool { return b.Stats().Refused == uint64(i+1) })
			if c, err := server.Dial(t.Context(), p, viewer.Addr().String()); err == nil {
				c.Close()
				t.Errorf("%s: a viewer answers as a server", p)
			} else if !errors.Is(err, errRole) {
				t.Errorf("%s: %v", p, err)
			}
		}
		if s := b.Stats(); s.Accepted != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestSignedForwardsNeedTheRole(t *testing.T) {
	k := newKey(t)
	b := open(t, &k, "b")
	b.Listen(Forward)
	viewer, err := Open(Options{Bind: "127.0.0.1:0", Key: &k, Self: Identity{ID: "v", Name: "v", Role: "viewer"}})
	if err != nil {
		t.Fatal(err)
	}
	defer viewer.Close()
	if c, err := viewer.DialSigned(context.Background(), b.Addr().String()); err == nil {
		c.Close()
		t.Error("a viewer opens a forward")
	}
}
