package supervisor

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Listening lists the TCP addresses on which the given processes listen by themselves, sorted. Of a worker in mode cluster that is what
// did not go through its channel: a program that is no Node.js, a descriptor of its own, a private port. A socket that was passed to several of
// them counts once. Processes that are gone, and those of other users, are passed over. It reads /proc and takes some 10 us a process
// and socket.
func Listening(pids []int) ([]netip.AddrPort, error) {
	sockets := make(map[string]bool) // inodes of what the processes have open
	var spaces []string              // one process of each network namespace
	seen := make(map[string]bool)
	for _, pid := range pids {
		dir := "/proc/" + strconv.Itoa(pid)
		fds, err := os.ReadDir(dir + "/fd")
		if skip, err := passOver(err); skip || err != nil {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, fd := range fds {
			if inode, ok := strings.CutPrefix(linkOf(filepath.Join(dir, "fd", fd.Name())), "socket:["); ok {
				sockets[strings.TrimSuffix(inode, "]")] = true
			}
		}
		if ns := linkOf(dir + "/ns/net"); !seen[ns] {
			seen[ns] = true
			spaces = append(spaces, dir)
		}
	}
	var out []netip.AddrPort
	for _, dir := range spaces {
		for _, table := range []string{"/net/tcp", "/net/tcp6"} {
			found, err := listeners(dir+table, sockets)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out), nil
}

// passOver reports whether an error only says that a process is gone or another user's; any other error comes back.
func passOver(err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return true, nil
	}
	return false, fmt.Errorf("look for the worker's ports: %w", err)
}

func linkOf(path string) string {
	to, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return to
}

// listeners returns the listening sockets of a kernel table that are among those wanted.
func listeners(path string, want map[string]bool) ([]netip.AddrPort, error) {
	raw, err := os.ReadFile(path)
	if skip, err := passOver(err); skip || err != nil {
		return nil, err // without IPv6 there is no second table
	}
	var out []netip.AddrPort
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		f := strings.Fields(s.Text())
		// sl local_address rem_address st ... inode is the tenth; 0A is the state of a listener.
		if len(f) < 10 || f[3] != "0A" || !want[f[9]] {
			continue
		}
		if a, ok := kernelAddr(f[1]); ok {
			out = append(out, a)
		}
	}
	return out, nil
}

// takesDatagrams reports whether a socket for datagrams is bound to the port, on whichever address.
func takesDatagrams(port uint16) bool {
	for _, table := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		raw, err := os.ReadFile(table)
		if err != nil {
			continue // without IPv6 there is no second one
		}
		for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) > 1 {
				if a, ok := kernelAddr(f[1]); ok && a.Port() == port {
					return true
				}
			}
		}
	}
	return false
}

// kernelAddr reads an address as the kernel prints it: 32-bit words in the machine's order, here little-endian, then the port.
func kernelAddr(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a, uint16(n)), ok
}
