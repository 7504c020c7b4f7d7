package mux

import (
	"errors"
	"io"
	"net"
	"testing"
)

// reaches says what becomes of a dial of each kind, and tells a whole exchange from a handshake that only one side likes.
func reaches(t *testing.T, from, to *Mux, l net.Listener) error {
	t.Helper()
	for _, dial := range []func() (net.Conn, error){
		func() (net.Conn, error) { return from.Dial(t.Context(), Forward, to.Addr().String()) },
		func() (net.Conn, error) { return from.DialSigned(t.Context(), to.Addr().String()) },
	} {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		s, err := l.Accept()
		if err != nil {
			return err
		}
		defer s.Close()
		if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

// TestRotation takes two ports from one key to another, one step and one port at a time; they reach each other at every moment.
func TestRotation(t *testing.T) {
	old, next := newKey(t), newKey(t)
	a, b, left := open(t, &old, "a"), open(t, &old, "b"), open(t, &old, "left")
	la, lb := a.Listen(Forward), b.Listen(Forward)
	both := func(when string) {
		t.Helper()
		if err := reaches(t, a, b, lb); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		if err := reaches(t, b, a, la); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	stays := dial(t, a, Forward, b)
	far, err := lb.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	both("before")
	for _, step := range []struct {
		when string
		m    *Mux
		use  Key
		also []Key
	}{
		{"a knows both", a, old, []Key{next}}, {"b knows both", b, old, []Key{next}},
		{"a uses the new one", a, next, []Key{old}}, {"b uses the new one", b, next, []Key{old}},
		{"a has forgotten the old one", a, next, nil}, {"b has forgotten the old one", b, next, nil},
	} {
		if err := step.m.SetKeys(step.use, step.also...); err != nil {
			t.Fatal(err)
		}
		both(step.when)
	}
	if _, err := left.Dial(t.Context(), Forward, a.Addr().String()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the old key: %v", err)
	}
	if _, err := left.DialSigned(t.Context(), a.Addr().String()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the old key: %v", err)
	}
	if _, err := stays.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(far, make([]byte, 1)); err != nil {
		t.Errorf("a stream that was open: %v", err)
	}
	if open(t, nil, "plain").SetKeys(next) == nil {
		t.Error("a port without a key takes one")
	}
}
