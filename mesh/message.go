package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/hashicorp/memberlist"
)

// Kinds of user messages in gossip.
const (
	kindLoad  = 1 // a load record, the fallback of the streams
	kindLeave = 2 // "I leave": memberlist does not tell its users whether a node left or died
)

// Bounds of user messages.
const (
	// maxGossipRecord is the largest load record sent by gossip, in bytes: it must fit into a packet beside memberlist's own messages. Larger
	// records go without their apps.
	maxGossipRecord = 1000
	// maxQueued bounds the queue of messages to be gossiped; the oldest are dropped.
	maxQueued = 128
	// maxNotices bounds the leave notices carried in a state exchange.
	maxNotices = 64
)

var errBadMessage = errors.New("malformed gossip message")

// origin names one process of one node: a node that starts again is another origin.
type origin struct {
	name    string
	started int64 // Unix milliseconds, from the metadata
}

func originOf(m Member) origin { return origin{name: m.Name, started: m.StartedAt.UnixMilli()} }

// appendMessage appends a message: kind u8, name length u8, name, started i64, and the record where the kind has one.
func appendMessage(b []byte, kind byte, from origin) []byte {
	b = append(b, kind, byte(len(from.name)))
	b = append(b, from.name...)
	return binary.LittleEndian.AppendUint64(b, uint64(from.started))
}

// cutMessage reads what appendMessage wrote and returns the rest.
func cutMessage(b []byte) (kind byte, from origin, rest []byte, err error) {
	if len(b) < 2 || len(b) < 2+int(b[1])+8 || b[1] == 0 || b[1] > maxNodeName {
		return 0, origin{}, nil, errBadMessage
	}
	n := 2 + int(b[1])
	from = origin{name: string(b[2:n]), started: int64(binary.LittleEndian.Uint64(b[n:]))}
	if b[0] != kindLoad && b[0] != kindLeave {
		return 0, origin{}, nil, fmt.Errorf("%w: kind %d", errBadMessage, b[0])
	}
	return b[0], from, b[n+8:], nil
}

// gossipRecord encodes a record for gossip, without its apps where they do not fit.
func gossipRecord(l Load) []byte {
	b := l.Append(nil)
	if len(b) > maxGossipRecord {
		l.Apps = nil
		b = l.Append(b[:0])
	}
	return b
}

// encodeNotices packs leave notices for a state exchange, at most maxNotices.
func encodeNotices(from []origin) []byte {
	var b []byte
	for i, o := range from {
		if i == maxNotices {
			break
		}
		b = appendMessage(b, kindLeave, o)
	}
	return b
}

// decodeNotices unpacks what encodeNotices packed.
func decodeNotices(b []byte) ([]origin, error) {
	var all []origin
	for len(b) > 0 {
		kind, from, rest, err := cutMessage(b)
		if err != nil {
			return nil, err
		}
		if kind != kindLeave || len(all) == maxNotices {
			return nil, fmt.Errorf("%w: not a list of notices", errBadMessage)
		}
		all, b = append(all, from), rest
	}
	return all, nil
}

// broadcast is a user message that waits for its turn in gossip; a newer one of the same name replaces it.
type broadcast struct {
	name    string
	message []byte
	sent    chan struct{} // closed when it has been sent often enough, or was replaced; may be nil
}

var _ memberlist.NamedBroadcast = (*broadcast)(nil)

// Invalidates implements memberlist.Broadcast.
func (b *broadcast) Invalidates(other memberlist.Broadcast) bool {
	o, ok := other.(*broadcast)
	return ok && o.name == b.name
}

// Name implements memberlist.NamedBroadcast.
func (b *broadcast) Name() string { return b.name }

// Message implements memberlist.Broadcast.
func (b *broadcast) Message() []byte { return b.message }

// Finished implements memberlist.Broadcast; memberlist calls it once.
func (b *broadcast) Finished() {
	if b.sent != nil {
		close(b.sent)
	}
}
