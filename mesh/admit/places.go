package admit

import (
	"net"
	"net/netip"
	"time"
)

func hostOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (d *Desk) enter(host netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.places >= maxPlaces || d.byHost[host] >= maxPerHost {
		return false
	}
	d.places++
	d.byHost[host]++
	return true
}

func (d *Desk) leave(host netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.places--
	if d.byHost[host]--; d.byHost[host] == 0 {
		delete(d.byHost, host)
	}
}

// turnAway says that there is no place. It reads what was said first: a socket that is closed with unread bytes is reset, and the answer lost.
func (d *Desk) turnAway(c Stream) {
	select {
	case d.turned <- struct{}{}:
		defer func() { <-d.turned }()
	default:
		return
	}
	_ = c.SetDeadline(time.Now().Add(turnLimit))
	if _, _, err := readMessage(c); err == nil {
		d.refuse(c, RefusedBusy, "too many servers wait to be admitted there; see which, on that server: meshnode admit")
	}
}
