package mux

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPreambleRoundTrip(t *testing.T) {
	for _, want := range []preamble{
		{protocol: Gossip, self: Identity{ID: "s1", Name: "n", Role: "server"}},
		{status: statusSecure},
		{protocol: Protocol(strings.Repeat("p", maxProtocol)), self: Identity{
			ID: strings.Repeat("i", maxID), Name: strings.Repeat("n", maxName), Role: strings.Repeat("r", maxRole),
		}},
	} {
		b := want.encode()
		got, err := decodePreamble(b)
		if err != nil || got != want || len(b) != preambleSize {
			t.Errorf("%+v: %+v, %v, %d bytes", want, got, err, len(b))
		}
	}
}

func TestPreambleRefusesDamage(t *testing.T) {
	good := preamble{protocol: Gossip, self: Identity{ID: "s1", Name: "n", Role: "server"}}.encode()
	for _, bad := range [][]byte{nil, good[:len(good)-1], append(bytes.Clone(good), 0), []byte(strings.Repeat("x", preambleSize))} {
		if _, err := decodePreamble(bad); !errors.Is(err, errNotPreamble) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	version := bytes.Clone(good)
	version[len(preambleMagic)] = 9
	if _, err := decodePreamble(version); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Error(err)
	}
	// The protocol's name is checked by who knows the protocols, not by the codec.
	name := len(preambleMagic) + 3
	for i := name + len(Gossip); i < len(good); i++ {
		bad := bytes.Clone(good)
		bad[i] ^= 0xff
		if _, err := decodePreamble(bad); err == nil && bad[i] > 0x7f {
			t.Errorf("byte %d changed to %#x: accepted", i, bad[i])
		}
	}
}

func FuzzDecodePreamble(f *testing.F) {
	f.Add(preamble{protocol: Gossip, self: Identity{ID: "s1", Name: "n", Role: "server"}}.encode())
	f.Add(preamble{status: statusPlain}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePreamble(b)
		if err == nil && !bytes.Equal(p.encode(), b) {
			t.Errorf("decoded %x, encoded %x", b, p.encode())
		}
	})
}
