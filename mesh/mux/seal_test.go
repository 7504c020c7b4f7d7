package mux

import (
	"errors"
	"strings"
	"testing"
)

func TestSeal(t *testing.T) {
	k := newKey(t)
	for _, value := range []string{"", "s3cret", strings.Repeat("long ", 1000), "zero \x00 byte"} {
		text := k.Seal("api TOKEN", value)
		if !strings.HasPrefix(text, sealedPrefix) || value != "" && strings.Contains(text, value) {
			t.Errorf("%q is sealed as %q", value, text)
		}
		if text != k.Seal("api TOKEN", value) {
			t.Errorf("%q is sealed in two ways", value)
		}
		got, err := k.Open("api TOKEN", text)
		if err != nil || got != value {
			t.Errorf("%q is opened as %q, %v", value, got, err)
		}
	}
	text := k.Seal("api TOKEN", "s3cret")
	if text == k.Seal("api OTHER", "s3cret") || text == newKey(t).Seal("api TOKEN", "s3cret") || text == k.Seal("api TOKE", "Ns3cret") {
		t.Error("another purpose, or another key, gives the same text")
	}
	bad := map[string]string{"nothing": "", "plain": "s3cret", "no text": sealedPrefix, "short": sealedPrefix + "AAAA", "another form": "sealed:v2:" + text[len(sealedPrefix):]}
	for i := len(sealedPrefix); i < len(text); i++ {
		c := byte('A')
		if text[i] == c {
			c = 'B'
		}
		bad["a flipped character "+text[:i]] = text[:i] + string(c) + text[i+1:]
	}
	for name, b := range bad {
		if _, err := k.Open("api TOKEN", b); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := k.Open("api OTHER", text); !errors.Is(err, ErrSealed) {
		t.Errorf("another purpose: %v", err)
	}
	if _, err := newKey(t).Open("api TOKEN", text); !errors.Is(err, ErrSealed) {
		t.Errorf("another key: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	k := newKey(f)
	f.Add("p", k.Seal("p", "value"))
	f.Add("", "sealed:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, purpose, text string) {
		value, err := k.Open(purpose, text)
		if err == nil && k.Seal(purpose, value) != text {
			t.Errorf("%q opens to %q, which is sealed otherwise", text, value)
		}
	})
}
