package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// Limits of a load record.
const (
	// MaxApps is how many apps a record carries; further ones are left out.
	MaxApps = 64
	// MaxAppName is the longest app name in a record, in bytes; apps with a longer name are left out.
	MaxAppName = 63
)

const (
	loadVersion  = 1
	loadFixed    = 1 + 4 + 8 + 4 + 8 + 8 + 4 + 1 + 1
	appFixed     = 1 + 2 + 4 + 4 + 4
	maxLoadBytes = loadFixed + MaxApps*(appFixed+MaxAppName)

	flagDraining = 1

	// flagHung is in an app's outstanding: to a node that does not know it, the peer's queue is endless, which comes to the same.
	flagHung = 1 << 31
)

// errBadLoad is the root of all errors of DecodeLoad.
var errBadLoad = errors.New("malformed load record")

// Load says how busy a node is: the record that peers exchange.
type Load struct {
	// Seq numbers the reports of one process; Report sets it.
	Seq uint32
	// AppliedIndex is the raft index up to which the node has applied the configuration.
	AppliedIndex uint64
	// Connections is how many client connections are open on the node.
	Connections uint32
	// ForwardedIn counts connections that peers forwarded to the node, since its start.
	ForwardedIn uint64
	// ForwardedOut counts connections that the node forwarded to peers, since its start.
	ForwardedOut uint64
	// Busy is the share of its cores in use, in [0,1].
	Busy float32
	// Draining says that the node takes no new connections.
	Draining bool
	// Apps are its apps, at most MaxApps.
	Apps []AppLoad
}

// AppLoad is one app's part of a Load.
type AppLoad struct {
	// App is the app's name, at most MaxAppName bytes.
	App string
	// Ready is the number of workers that take connections.
	Ready uint16
	// Hung: all of them accept nothing at this moment.
	Hung bool
	// Outstanding is the number of connections in hand, long-lived ones not counted.
	Outstanding uint32
	// Long is the number of long-lived connections.
	Long uint32
	// Service is the smoothed service time of a short connection. On the wire it has microseconds and ends at about 71 minutes.
	Service time.Duration
}

// Append appends the record's wire form to b, little-endian:
//
//	version u8, seq u32, applied u64, connections u32, forwarded in u64, out u64, busy f32, flags u8, apps u8,
//	and for each app: name length u8, name, ready u16, outstanding u32 (its highest bit: hung), long u32, service in microseconds u32
//
// Busy is forced into [0,1]. Apps that do not fit (MaxApps, MaxAppName) are left out.
func (l Load) Append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, loadVersion)
	b = le.AppendUint32(b, l.Seq)
	b = le.AppendUint64(b, l.AppliedIndex)
	b = le.AppendUint32(b, l.Connections)
	b = le.AppendUint64(b, l.ForwardedIn)
	b = le.AppendUint64(b, l.ForwardedOut)
	b = le.AppendUint32(b, math.Float32bits(clamp(l.Busy)))
	var flags byte
	if l.Draining {
		flags |= flagDraining
	}
	b = append(b, flags, 0)
	count := len(b) - 1
	for _, a := range l.Apps {
		if len(a.App) > MaxAppName || b[count] == MaxApps {
			continue
		}
		b[count]++
		b = append(b, byte(len(a.App)))
		b = append(b, a.App...)
		b = le.AppendUint16(b, a.Ready)
		outstanding := min(a.Outstanding, flagHung-1)
		if a.Hung {
			outstanding |= flagHung
		}
		b = le.AppendUint32(b, outstanding)
		b = le.AppendUint32(b, a.Long)
		b = le.AppendUint32(b, uint32(min(max(a.Service.Microseconds(), 0), math.MaxUint32)))
	}
	return b
}

// clamp forces a share into [0,1]; what is not a number is 0.
func clamp(f float32) float32 {
	if !(f > 0) {
		return 0
	}
	return min(f, 1)
}

// DecodeLoad reads a record that Append made. b must hold exactly one record; the result does not keep b.
func DecodeLoad(b []byte) (Load, error) {
	if len(b) < loadFixed || len(b) > maxLoadBytes {
		return Load{}, fmt.Errorf("%w: %d bytes", errBadLoad, len(b))
	}
	if b[0] != loadVersion {
		return Load{}, fmt.Errorf("%w: version %d, not %d", errBadLoad, b[0], loadVersion)
	}
	le := binary.LittleEndian
	l := Load{
		Seq:          le.Uint32(b[1:]),
		AppliedIndex: le.Uint64(b[5:]),
		Connections:  le.Uint32(b[13:]),
		ForwardedIn:  le.Uint64(b[17:]),
		ForwardedOut: le.Uint64(b[25:]),
		Busy:         math.Float32frombits(le.Uint32(b[33:])),
		Draining:     b[37]&flagDraining != 0,
	}
	if !(l.Busy >= 0 && l.Busy <= 1) || math.Signbit(float64(l.Busy)) {
		return Load{}, fmt.Errorf("%w: busy is not in [0,1]", errBadLoad)
	}
	if b[37]&^flagDraining != 0 || b[38] > MaxApps {
		return Load{}, fmt.Errorf("%w: flags %#x, %d apps", errBadLoad, b[37], b[38])
	}
	var err error
	l.Apps, err = decodeApps(b[loadFixed:], int(b[38]))
	if err != nil {
		return Load{}, err
	}
	return l, nil
}

// decodeApps reads n apps that fill b.
func decodeApps(b []byte, n int) ([]AppLoad, error) {
	if n == 0 && len(b) == 0 {
		return nil, nil
	}
	le := binary.LittleEndian
	apps := make([]AppLoad, 0, n)
	for range n {
		if len(b) == 0 || int(b[0]) > MaxAppName || len(b) < appFixed+int(b[0]) {
			return nil, fmt.Errorf("%w: app %d is cut short", errBadLoad, len(apps))
		}
		name := int(b[0])
		rest := b[1+name:]
		apps = append(apps, AppLoad{
			App:         string(b[1 : 1+name]),
			Ready:       le.Uint16(rest),
			Outstanding: le.Uint32(rest[2:]) &^ flagHung,
			Hung:        le.Uint32(rest[2:])&flagHung != 0,
			Long:        le.Uint32(rest[6:]),
			Service:     time.Duration(le.Uint32(rest[10:])) * time.Microsecond,
		})
		b = rest[appFixed-1:]
	}
	if len(b) != 0 {
		return nil, fmt.Errorf("%w: %d bytes too many", errBadLoad, len(b))
	}
	return apps, nil
}
