package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

func commands() []Command {
	return []Command{
		{Found: &Found{"c1"}},
		putOf("web", 7),
		{Delete: &Delete{"web", Any}},
		{Learn: &Learn{"web", []string{":3000", "[::1]:80"}}},
		{Advance: &Advance{App: "web", Release: 2, Nodes: []string{"h1"}}},
		{Refuse: &Refuse{App: "web", Release: 2, Why: "exit code 1", Node: "h1", Tail: []string{"Error: boom"}}},
		{Lose: &Lose{Servers: []string{"h1-0a1b2c3d"}}},
	}
}

// frame builds a frame with a right header around any body.
func frame(kind, version byte, body string) []byte {
	b := make([]byte, headerBytes, headerBytes+len(body))
	b[0], b[1] = kind, version
	binary.BigEndian.PutUint32(b[2:], uint32(len(body)))
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[6:], checksum(b))
	return b
}

func TestCodec(t *testing.T) {
	for _, c := range commands() {
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Error(diff)
		}
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if _, err := Decode(b); err == nil {
					t.Fatalf("bit %d of byte %d flipped, and nobody noticed", bit, i)
				}
				b[i] ^= 1 << bit
			}
		}
		for n := range b {
			if _, err := Decode(b[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes, and nobody noticed", n, len(b))
			}
		}
	}
}

// TestGolden holds bytes that are in logs out there: what is written now, and what older versions wrote.
func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		c       Command
		version byte
		want    string
	}{
		{Command{Delete: &Delete{"web", 5}}, 1, "\x03\x01\x00\x00\x00\x20\x24\x52\x0e\xa9" + `{"name":"web","prev_modified":5}`},
		{Command{Delete: &Delete{"web", 5}}, 2, "\x03\x02\x00\x00\x00\x20\x20\x11\xea\xbe" + `{"name":"web","prev_modified":5}`},
		{Command{Advance: &Advance{App: "web", Release: 2, Nodes: []string{"h1"}}}, 2,
			"\x05\x02\x00\x00\x00\x28\x0b\x58\x3a\x43" + `{"app":"web","release":2,"nodes":["h1"]}`},
		{Command{Refuse: &Refuse{App: "web", Release: 2, Why: "w", Node: "h1", Tail: []string{"t"}}}, 2,
			"\x06\x02\x00\x00\x00\x3c\x3c\x68\xdd\x2b" + `{"app":"web","release":2,"why":"w","node":"h1","tail":["t"]}`},
	} {
		if got, err := Decode([]byte(tt.want)); err != nil || cmp.Diff(tt.c, got) != "" {
			t.Errorf("version %d: %+v, %v", tt.version, got, err)
		}
		if b, err := Encode(tt.c); tt.version != oldestVersion && (err != nil || string(b) != tt.want) {
			t.Errorf("got %q, %v, want %q", b, err, tt.want)
		}
	}
}

// TestPlainFrames keeps what servers of the release before must understand as they wrote it.
func TestPlainFrames(t *testing.T) {
	plain := putOf("web", 0)
	type framed struct {
		want byte
		c    Command
	}
	all := []framed{{plainVersion, plain}}
	for _, change := range []func(a *spec.App){
		func(a *spec.App) { a.Balance.MaxConnections = 4 }, func(a *spec.App) { a.Clients.PerClient = 4 },
		func(a *spec.App) { a.Process.SendProxy = spec.SendProxyV2 }, func(a *spec.App) { a.Health.TCP = true },
		func(a *spec.App) { a.Listen = []string{":53", ":53/udp"} },
	} {
		c := putOf("web", 0)
		change(&c.Put.App)
		all = append(all, framed{thirdVersion, c})
	}
	for _, f := range all {
		want, c := f.want, f.c
		b, err := Encode(c)
		if err != nil || b[1] != want {
			t.Errorf("version %d, %v, want %d", b[1], err, want)
		}
		state := &spec.Cluster{Apps: map[string]spec.App{"web": c.Put.App}}
		if b, err = EncodeState(state); err != nil || b[1] != want {
			t.Errorf("a state: version %d, %v, want %d", b[1], err, want)
		}
		state = &spec.Cluster{Apps: map[string]spec.App{"web": plain.Put.App}, History: map[string][]spec.Past{"web": {{App: c.Put.App}}}}
		if b, err = EncodeState(state); err != nil || b[1] != want {
			t.Errorf("a state with a history: version %d, %v, want %d", b[1], err, want)
		}
	}
}

// TestSettingsNeedTheThirdFrame has a state say which release can read it.
func TestSettingsNeedTheThirdFrame(t *testing.T) {
	b, err := Encode(Command{Set: &Set{Values: map[string]string{"forward": "plain"}}})
	if err != nil || string(b[10:]) != `{"values":{"forward":"plain"}}` || b[0] != 7 || b[1] != 3 {
		t.Errorf("%q, %v", b, err)
	}
	b, err = EncodeState(&spec.Cluster{Apps: map[string]spec.App{}, Settings: map[string]string{"forward": "plain"}})
	if err != nil || b[1] != 3 {
		t.Errorf("%q, %v", b, err)
	}
}

// TestAdmissionsNeedTheNewestFrame is the same for what is kept about who may join.
func TestAdmissionsNeedTheNewestFrame(t *testing.T) {
	trusted := map[string]spec.Trusted{"a-1": {Since: 1, By: spec.TrustedByCode}}
	for want, c := range map[string]Command{
		`{"add":{"a-1":{"since":1,"by":"code"}}}`:                      {Trust: &Trust{Add: trusted}},
		`{"hash":"h","make":{"made":1,"expires":2,"uses":3},"time":1}`: {Token: &Token{Hash: "h", Make: &spec.Token{Made: 1, Expires: 2, Uses: 3}, Time: 1}},
		`{"hash":"h","use":true,"for":"a-1","time":1}`:                 {Token: &Token{Hash: "h", Use: true, For: "a-1", Time: 1}},
	} {
		b, err := Encode(c)
		if err != nil || string(b[10:]) != want || b[1] != version {
			t.Errorf("%q, %v", b, err)
		}
	}
	for _, c := range []*spec.Cluster{{Apps: map[string]spec.App{}, Trusted: trusted}, {Apps: map[string]spec.App{}, Tokens: map[string]spec.Token{"h": {}}}} {
		if b, err := EncodeState(c); err != nil || b[1] != version {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// TestLearnedFrames is the same for what workers ask for.
func TestLearnedFrames(t *testing.T) {
	for addr, want := range map[string]byte{":53": plainVersion, ":53/udp": thirdVersion} {
		b, err := Encode(Command{Learn: &Learn{App: "web", Listen: []string{addr}}})
		if err != nil || b[1] != want {
			t.Errorf("%s: version %d, %v, want %d", addr, b[1], err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":         {nil, ErrCorrupt},
		"newer version":   {frame(kindPut, version+1, `{}`), ErrUnsupported},
		"no version":      {frame(kindPut, 0, `{}`), ErrUnsupported},
		"newer kind":      {frame(15, 1, `{}`), ErrUnsupported},
		"a state":         {frame(kindState, 1, `{"id":"","index":0,"apps":{}}`), ErrUnsupported},
		"unknown field":   {frame(kindDelete, 1, `{"name":"web","prev_modified":5,"x":1}`), ErrCorrupt},
		"two values":      {frame(kindDelete, 1, `{"name":"web","prev_modified":5} {}`), ErrCorrupt},
		"junk at the end": {frame(kindDelete, 1, `{"name":"web","prev_modified":5}}`), ErrCorrupt},
		"null":            {frame(kindDelete, 1, `null`), ErrCorrupt},
		"no JSON":         {frame(kindDelete, 1, `web`), ErrCorrupt},
		"too large":       {frame(kindDelete, 1, strings.Repeat(" ", MaxCommandBytes)), ErrTooLarge},
	} {
		if _, err := Decode(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, err := Encode(Command{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("an empty command: %v", err)
	}
	if _, err := Encode(Command{Found: &Found{}, Delete: &Delete{}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("two in one: %v", err)
	}
	big := putOf("web", 0)
	big.Put.App.Env = map[string]string{"A": strings.Repeat("x", MaxCommandBytes)}
	if _, err := Encode(big); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a huge command: %v", err)
	}
}

func TestPrepare(t *testing.T) {
	for _, c := range commands() {
		if _, err := c.Prepare(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for name, c := range map[string]Command{
		"empty":       {},
		"no cluster":  {Found: &Found{}},
		"no app":      {Put: &Put{}},
		"delete all":  {Delete: &Delete{Name: "all"}},
		"no turn":     {Advance: &Advance{App: "web"}},
		"empty turn":  {Advance: &Advance{App: "web", Nodes: []string{""}}},
		"turns":       {Advance: &Advance{App: "web", Nodes: make([]string, spec.MaxTurns+1)}},
		"no reason":   {Refuse: &Refuse{App: "web"}},
		"long reason": {Refuse: &Refuse{App: "web", Why: strings.Repeat("x", spec.MaxWhyBytes+1)}},
		"long tail":   {Refuse: &Refuse{App: "web", Why: "w", Tail: make([]string, spec.MaxTailLines+1)}},
		"wide tail":   {Refuse: &Refuse{App: "web", Why: "w", Tail: []string{strings.Repeat("x", spec.MaxTailBytes+1)}}},
		"lose none":   {Lose: &Lose{}},
		"lose nobody": {Lose: &Lose{Servers: []string{""}}},
		"lose many":   {Lose: &Lose{Servers: make([]string, spec.MaxLost+1)}},
		"learn none":  {Learn: &Learn{App: "web"}},
		"learn wrong": {Learn: &Learn{App: "web", Listen: []string{"x"}}},
		"learn many":  {Learn: &Learn{App: "web", Listen: make([]string, spec.MaxListen+1)}},
	} {
		if _, err := c.Prepare(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	given := Command{Put: &Put{App: spec.App{Name: "web", Command: []string{"x"}, Dir: "/", Standing: spec.Standing{Release: 9, Learned: []string{":1"}}}}}
	ready, err := given.Prepare()
	if err != nil || ready.Put.App.Mode != spec.ModeAuto || ready.Put.App.Release != 0 || ready.Put.App.Learned != nil {
		t.Errorf("prepared: %+v, %v", ready.Put, err)
	}
	if given.Put.App.Mode != "" || given.Put.App.Release != 9 {
		t.Error("Prepare changed what it was given")
	}
}

func TestDecodeStateRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"no apps":     frame(kindState, 1, `{"id":"c","index":1,"apps":null}`),
		"wrong name":  frame(kindState, 1, `{"id":"c","index":1,"apps":{"a":{"name":"b"}}}`),
		"a command":   frame(kindPut, 1, `{}`),
		"no stable":   frame(kindState, 2, `{"id":"c","index":1,"apps":{"a":{"name":"a","rollout":{"stable":1}}}}`),
		"no such app": frame(kindState, 2, `{"id":"c","index":1,"apps":{},"history":{"a":[]}}`),
		"cut":         frame(kindState, 1, `{"id":"c","index":1,"apps":{}}`)[:12],
	} {
		if _, err := DecodeState(b); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range commands() {
		b, err := Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(frame(kindLearn, 1, `{"app":"a","listen":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(c)
		if err != nil {
			t.Fatalf("decoded but cannot be encoded: %v", err)
		}
		c2, err := Decode(again)
		if err != nil {
			t.Fatalf("cannot read what it wrote: %v", err)
		}
		third, err := Encode(c2)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("encoding is not stable: %q, %q", again, third)
		}
		New(nil).Apply(1, b)
	})
}

// FuzzBody reaches the JSON behind the checksum.
func FuzzBody(f *testing.F) {
	f.Add(kindPut, `{"app":{"name":"web","command":["x"],"dir":"/"},"prev_modified":0}`)
	f.Add(kindState, `{"id":"c","index":1,"apps":{"web":{"name":"web"}}}`)
	f.Fuzz(func(t *testing.T, kind byte, body string) {
		b := frame(kind, version, body)
		New(nil).Apply(1, b)
		if c, err := DecodeState(b); err == nil {
			if _, err := EncodeState(c); err != nil {
				t.Fatalf("decoded but cannot be encoded: %v", err)
			}
		}
	})
}
