package supervisor

import (
	"slices"
	"testing"
)

func TestWhichAddressIsTaken(t *testing.T) {
	for _, c := range []struct {
		line  string
		taken bool
		port  string
	}{
		{"Error: listen EADDRINUSE: address already in use :::8000", true, "8000"},
		{"OSError: [Errno 98] Address already in use", true, ""},
		{"listen tcp :8000: bind: address already in use", true, "8000"},
		{"Address already in use - bind(2) for \"127.0.0.1\" port 9292 (Errno::EADDRINUSE)", true, ""},
		{"Failed to listen on localhost:8000 (reason: Address already in use)", true, "8000"},
		{"    at Server.listen (node:net:1940:12)", false, ""},
		{"listening on :8000", false, ""},
	} {
		got := inUse([]string{c.line})
		if (len(got) == 1) != c.taken {
			t.Errorf("%s: taken %v, want %v", c.line, got, c.taken)
			continue
		}
		if !c.taken {
			continue
		}
		if ports := portsIn(c.line); c.port != "" && !slices.Contains(ports, c.port) || c.port == "" && len(ports) > 0 {
			t.Errorf("%s: ports %v, want %q", c.line, ports, c.port)
		}
		if !mentioned(got, []string{":8000"}) {
			t.Errorf("%s: it may be :8000", c.line)
		}
		if c.port != "" && mentioned(got, []string{":3000"}) {
			t.Errorf("%s: taken for :3000", c.line)
		}
	}
	if mentioned([]string{"Address already in use"}, nil) {
		t.Error("no address at all is mentioned")
	}
}
