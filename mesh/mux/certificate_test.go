package mux

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestAuthorityIsTheSameOnEveryNode(t *testing.T) {
	k := newKey(t)
	a, err := newAuthority(k.authority())
	if err != nil {
		t.Fatal(err)
	}
	b, err := newAuthority(k.authority())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Raw, b.Raw) {
		t.Error("two nodes make different authorities")
	}
}

func TestLeafCarriesTheIdentityForAllClocks(t *testing.T) {
	k := newKey(t)
	authority, err := newAuthority(k.authority())
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []Identity{
		{ID: "s1-3f2a9c1e", Name: "web-1", Role: "server"},
		{ID: "a/b?c#d%41", Name: "Zürich / rack 7 @x:y", Role: "non-voter-2"},
		{ID: strings.Repeat("i", maxID), Name: strings.Repeat("n", maxName), Role: strings.Repeat("r", maxRole)},
	} {
		own, err := newLeaf(who, authority, k.authority())
		if err != nil {
			t.Fatalf("%+v: %v", who, err)
		}
		if got, ok := identityOf(own.Leaf); !ok || got != who {
			t.Errorf("%+v is read as %+v", who, got)
		}
		pool := x509.NewCertPool()
		pool.AddCert(authority)
		for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			for _, year := range []int{2000, 2016, 2026, 2100, 2998} {
				at := time.Date(year, 1, 1, 0, 0, 1, 0, time.UTC)
				if _, err := own.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: peerServerName, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
					t.Errorf("in %d: %v", year, err)
				}
			}
		}
	}
}

func TestIdentityIsValidated(t *testing.T) {
	good := Identity{ID: "i", Name: "n", Role: "server"}
	for name, change := range map[string]func(*Identity){
		"no id": func(i *Identity) { i.ID = "" }, "no name": func(i *Identity) { i.Name = "" }, "no role": func(i *Identity) { i.Role = "" },
		"long id": func(i *Identity) { i.ID = strings.Repeat("x", maxID+1) }, "control": func(i *Identity) { i.Name = "a\nb" },
		"not utf-8": func(i *Identity) { i.Name = "\xff" }, "role with capitals": func(i *Identity) { i.Role = "Server" },
	} {
		bad := good
		change(&bad)
		if bad.validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
}

func TestExplain(t *testing.T) {
	if err := explain(x509.CertificateInvalidError{Reason: x509.Expired}); !strings.Contains(err.Error(), "clocks") {
		t.Error(err)
	}
	if err := explain(x509.UnknownAuthorityError{}); !errors.Is(err, ErrWrongKey) {
		t.Error(err)
	}
}
