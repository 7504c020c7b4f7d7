package spec

import "strings"

// datagrams ends a client address that takes datagrams.
const datagrams = "/udp"

// Datagrams reports whether a client address takes datagrams, and returns it as "host:port".
func Datagrams(addr string) (string, bool) { return strings.CutSuffix(addr, datagrams) }

// DatagramAddress is the client address that takes datagrams at "host:port".
func DatagramAddress(addr string) string { return addr + datagrams }

// Streams are those client addresses that take connections.
func Streams(addrs []string) []string {
	var out []string
	for _, a := range addrs {
		if _, udp := Datagrams(a); !udp {
			out = append(out, a)
		}
	}
	return out
}

// hasDatagrams reports whether one of them takes datagrams.
func hasDatagrams(addrs []string) bool { return len(Streams(addrs)) < len(addrs) }
