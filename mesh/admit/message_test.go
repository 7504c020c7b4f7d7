package admit

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestNewcomerIsCheckedOnBothSides(t *testing.T) {
	for _, bad := range []Newcomer{{}, {Name: "a"}, {ID: "a"}, {Name: "a\x1b[2J", ID: "x"}, {Name: "\xff", ID: "x"}, {Name: "a", ID: "x", Release: "v\n"}} {
		if bad.validate() == nil {
			t.Errorf("%q is fit to be sent", bad)
		}
		if _, _, err := decodeAsk(appendAsk(nil, make([]byte, hashSize), bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	long := Newcomer{Name: strings.Repeat("x", maxWord+1), ID: "x"}
	if long.validate() == nil {
		t.Error("a long name is fit to be sent")
	}
	good := Newcomer{Name: "web-4", ID: "web-4-1", Release: ""}
	b := appendAsk(nil, make([]byte, hashSize), good)
	if _, who, err := decodeAsk(b); err != nil || who != good {
		t.Errorf("%+v, %v", who, err)
	}
	for _, bad := range [][]byte{nil, b[:len(b)-1], append(bytes.Clone(b), 0), append([]byte{version + 1}, b[1:]...)} {
		if _, _, err := decodeAsk(bad); !errors.Is(err, errMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func TestLongMessagesAreNotRead(t *testing.T) {
	if _, _, err := readMessage(bytes.NewReader([]byte{kindAsk, 0xff, 0xff})); !errors.Is(err, errMalformed) {
		t.Error(err)
	}
}

func FuzzMessages(f *testing.F) {
	var b bytes.Buffer
	_ = writeMessage(&b, kindAsk, appendAsk(nil, make([]byte, hashSize), Newcomer{Name: "web-4", ID: "web-4-1", Release: "v1"}))
	f.Add(b.Bytes())
	b.Reset()
	_ = writeMessage(&b, kindToken, appendToken(nil, make([]byte, secretSize), Newcomer{Name: "web-4", ID: "web-4-1", Release: "v1"}))
	f.Add(b.Bytes())
	b.Reset()
	_ = writeMessage(&b, kindRefused, (&Refusal{Code: RefusedBusy, Text: "later"}).encode())
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		kind, body, err := readMessage(bytes.NewReader(in))
		if err != nil {
			return
		}
		if len(body) > maxBody {
			t.Fatalf("%d bytes", len(body))
		}
		switch kind {
		case kindAsk:
			if commitment, who, err := decodeAsk(body); err == nil && !bytes.Equal(appendAsk(nil, commitment, who), body) {
				t.Errorf("%x is read as %+v", body, who)
			}
		case kindToken:
			if secret, who, err := decodeToken(body); err == nil && !bytes.Equal(appendToken(nil, secret, who), body) {
				t.Errorf("%x is read as %+v", body, who)
			}
		case kindRefused:
			if r, err := decodeRefusal(body); err == nil && !bytes.Equal(r.encode(), body) {
				t.Errorf("%x is read as %+v", body, r)
			}
		}
	})
}
