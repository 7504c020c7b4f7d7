package admit

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTokenText(t *testing.T) {
	token, err := NewToken([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	text := token.String()
	if len(text) != 52 || !strings.HasPrefix(text, "mt1-") || string(token.Cluster()) != "0123456789abcdef" || len(token.Hash()) != 64 {
		t.Errorf("%d characters, %q", len(text), token.Cluster())
	}
	got, err := ParseToken(" " + text + "\n")
	if err != nil || got != token {
		t.Error(err)
	}
	for i := range text {
		other := []byte(text)
		if other[i]++; i >= 4 && other[i] == text[i] {
			continue
		}
		if _, err := ParseToken(string(other)); !errors.Is(err, ErrToken) {
			t.Errorf("letter %d changed: %v", i, err)
		}
	}
	for _, bad := range []string{"", "mt1-", text[:51], text + "A", text[:20] + "\n" + text[20:51], "mk1-" + text[4:]} {
		if _, err := ParseToken(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, token); strings.Contains(got, text[4:20]) || strings.Contains(got, fmt.Sprintf("%x", token.secret[:4])) {
			t.Errorf("%s prints the token", verb)
		}
	}
	if _, err := NewToken([]byte("short")); err == nil {
		t.Error("a token of no cluster")
	}
	if !bytes.Equal(got.Cluster(), token.Cluster()) || HashSecret(token.secret[:]) != token.Hash() {
		t.Error("the parts")
	}
}

func FuzzParseToken(f *testing.F) {
	token, err := NewToken(make([]byte, clusterSize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.String())
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseToken(s); err == nil && token.String() != strings.TrimSpace(s) {
			t.Errorf("%q is read as %q", s, token.String())
		}
	})
}

func TestTriesByHost(t *testing.T) {
	var all TriesBy
	now := time.Unix(1000, 0)
	bad, good := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for range maxTries {
		all.Wrong(bad, now)
	}
	if all.Allowed(bad, now) || !all.Allowed(good, now) || !all.Allowed(bad, now.Add(triesPause)) {
		t.Error("the pause is not that of one host")
	}
	for i := range maxHosts + 10 {
		all.Wrong(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), now)
	}
	if len(all.byHost) > maxHosts || all.Allowed(netip.MustParseAddr("12.0.0.1"), now) {
		t.Errorf("%d hosts are remembered", len(all.byHost))
	}
	if !all.Allowed(netip.MustParseAddr("12.0.0.1"), now.Add(triesWindow+triesPause)) {
		t.Error("the table is full for ever")
	}
}
