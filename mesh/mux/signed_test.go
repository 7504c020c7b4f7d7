package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

type signer interface {
	net.Conn
	Sign(purpose string, message []byte) []byte
}

func TestSignedForward(t *testing.T) {
	k := newKey(t)
	a, b := open(t, &k, "a"), open(t, &k, "b")
	l := b.Listen(Forward)
	pair := func() (near, far signer) {
		c, err := a.DialSigned(t.Context(), b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return c.(signer), s.(signer)
	}
	near, far := pair()
	mac := near.Sign("x", []byte("message"))
	if !bytes.Equal(mac, far.Sign("x", []byte("message"))) {
		t.Error("the two ends sign differently")
	}
	other, _ := pair()
	for what, m := range map[string][]byte{"another purpose": far.Sign("y", []byte("message")), "another message": far.Sign("x", []byte("messagf")),
		"another stream": other.Sign("x", []byte("message"))} {
		if bytes.Equal(mac, m) {
			t.Errorf("the MAC is the same for %s", what)
		}
	}
	if _, err := near.Write([]byte("plain")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "plain" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSignedForwardNeedsTheKey(t *testing.T) {
	k, k2 := newKey(t), newKey(t)
	a, b := open(t, &k, "a"), open(t, &k2, "b")
	b.Listen(Forward)
	if _, err := a.DialSigned(t.Context(), b.Addr().String()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("got %v", err)
	}
	insecure := open(t, nil, "c")
	insecure.Listen(Forward)
	if c, err := a.DialSigned(t.Context(), insecure.Addr().String()); err == nil {
		c.Close()
		t.Error("a node without a key was taken for one with it")
	}
	if _, err := insecure.Dial(t.Context(), Forward, a.Addr().String()); !errors.Is(err, ErrPeerSecure) {
		t.Errorf("got %v", err)
	}
}

// TestSignedForwardIsNotReplayed says again what was heard on the way of another stream.
func TestSignedForwardIsNotReplayed(t *testing.T) {
	k := newKey(t)
	b := open(t, &k, "b")
	l := b.Listen(Forward)
	own := append(preamble{protocol: signedForward, self: Identity{ID: "x-1", Name: "x", Role: "server"}}.encode(), make([]byte, nonceSize)...)
	greet := func(hello func(theirs []byte) []byte) net.Conn {
		c, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		theirs := make([]byte, preambleSize+nonceSize+macSize)
		if _, err := c.Write(own); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, theirs); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(hello(theirs[:preambleSize+nonceSize])); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var heard []byte
	greet(func(theirs []byte) []byte {
		heard = k.newSigned(nil, own, theirs).Sign("hello", nil)
		return heard
	})
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c := greet(func([]byte) []byte { return heard })
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a greeting that was heard before was not refused: %v", err)
	}
}

// TestSignedForwardToAnOlderPort has a port that refuses what does not come with TLS.
func TestSignedForwardToAnOlderPort(t *testing.T) {
	k := newKey(t)
	a := open(t, &k, "a")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		sendRefusal(context.Background(), c.(*net.TCPConn), statusSecure)
	}()
	if _, err := a.DialSigned(t.Context(), ln.Addr().String()); !errors.Is(err, ErrPeerSecure) {
		t.Errorf("got %v", err)
	}
	<-done
}
