package mux

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func newKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestKeyRoundTrip(t *testing.T) {
	k := newKey(t)
	text := k.String()
	if len(text) != 52 || !strings.HasPrefix(text, "mk1-") {
		t.Errorf("%d characters", len(text))
	}
	got, err := ParseKey(" " + text + "\n")
	if err != nil || got != k {
		t.Errorf("parsed another key: %v", err)
	}
	if newKey(t) == k {
		t.Error("two new keys are equal")
	}
}

func TestKeyMistyped(t *testing.T) {
	text := newKey(t).String()
	bad := []string{"", "mk1-", "mk2" + text[3:], text[:51], text + "A", text[:20] + " " + text[21:], strings.ToUpper(text),
		text[:47] + "\n" + text[47:], text[:9] + "\r\n" + text[9:]} // which base64 passes over
	for i := 4; i < len(text); i++ {
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		bad = append(bad, text[:i]+string(c)+text[i+1:])
	}
	for _, s := range bad {
		if _, err := ParseKey(s); !errors.Is(err, ErrKeyMistyped) {
			t.Errorf("%q: %v", s, err)
		} else if len(s) > 10 && strings.Contains(err.Error(), s[4:]) {
			t.Error("the error repeats the text")
		}
	}
}

func TestKeyIsNeverFormatted(t *testing.T) {
	k := newKey(t)
	secret := k.String()[4:30]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{k, &k, struct{ K Key }{k}, []Key{k}} {
			got := fmt.Sprintf(verb, value)
			if strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", k.secret[:4])) || strings.Contains(got, fmt.Sprint(k.secret[0], k.secret[1])) {
				t.Errorf("%s of %T prints the key", verb, value)
			}
		}
	}
}

func TestDerivedKeys(t *testing.T) {
	k := newKey(t)
	if g := k.Gossip(); len(g) != 32 || !bytes.Equal(g, k.Gossip()) || bytes.Equal(g, k.secret[:]) || bytes.Equal(g, k.authority().Seed()) {
		t.Error("the gossip key is not a fixed derivation of its own")
	}
	if bytes.Equal(k.Gossip(), newKey(t).Gossip()) {
		t.Error("two clusters share a gossip key")
	}
}

func FuzzParseKey(f *testing.F) {
	text := newKey(f).String()
	f.Add(text)
	f.Add(text[:47] + "\n" + text[47:])
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := ParseKey(s); err == nil && k.String() != strings.TrimSpace(s) {
			t.Errorf("%q is read as %q", s, k.String())
		}
	})
}
