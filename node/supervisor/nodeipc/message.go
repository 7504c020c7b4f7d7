package nodeipc

import (
	"encoding/json"
	"os"
	"strconv"
)

// Commands of Node's IPC channel.
const (
	cmdCluster    = "NODE_CLUSTER"
	cmdHandle     = "NODE_HANDLE"
	cmdHandleAck  = "NODE_HANDLE_ACK"
	cmdHandleNack = "NODE_HANDLE_NACK"
	// cmdPreload is ours: Node passes every command that begins with NODE_ to internal listeners only, so the app never sees it.
	cmdPreload = "NODE_MESHNODE"
)

// inbound is any message from the worker that concerns the cluster protocol.
type inbound struct {
	Cmd      string          `json:"cmd"`
	Act      string          `json:"act"`
	Seq      int64           `json:"seq"`
	Ack      *int64          `json:"ack"`
	Accepted *bool           `json:"accepted"`
	Key      string          `json:"key"`
	Index    int             `json:"index"`
	Data     json.RawMessage `json:"data"`
	Address  *string         `json:"address"`
	Port     *int            `json:"port"`
	AddrType json.RawMessage `json:"addressType"`
	FD       *int            `json:"fd"`
	Flags    int             `json:"flags"`
	fromPreload
}

// fromPreload is what our own messages hold.
type fromPreload struct {
	N       int64 `json:"n"`
	Version int   `json:"version"`
	Load    *Load `json:"load"`
	Says    bool  `json:"says"` // it writes to a connection before its app does
}

// Query is a worker's wish to listen. Address is "" for every address, an IP, a host name or an absolute path; Port is -1 for a
// path and 0 for any free port. Family is "4", "6", "udp4", "udp6" or "-1" for a path. Key names the listener: workers of one app
// that ask for the same key share it. Data is opaque (TLS ticket keys) and must be echoed, the first worker's to all.
type Query struct {
	Key      string
	Address  string
	Port     int
	Family   string
	FD       bool
	IPv6Only bool
	Reuse    bool // Reuse is set where a datagram socket was asked for with reuseAddr.
	Data     json.RawMessage
	// Own is set where the worker can take a listening socket of its own and reports what it accepts from it (Handler.Load). It says nothing
	// about later runs of the node.
	Own bool `json:"-"`
}

// UDP reports whether the worker wants a datagram socket.
func (q Query) UDP() bool { return len(q.Family) == 4 && q.Family[:3] == "udp" }

// Reply answers a Query. Errno is 0, or a negative errno that the app sees as the error of its listen call. Address, Port and IPv6
// are what the app sees as its own listening address (Port only where it asked for any: Node fails on another than it asked for); Data
// is the first worker's Data for this key, nil for the worker's own. Share is a bound socket that the worker is to use itself, a datagram
// socket, a listening one on a path, or, where Query.Own is set, a listening TCP socket; the channel closes it. Connections may be given to the
// worker by Offer beside a TCP socket, and are where there is none.
type Reply struct {
	Share   *os.File
	Errno   int
	Address string
	Port    int
	IPv6    bool
	Data    json.RawMessage
}

type sockname struct {
	Address string `json:"address"`
	Family  string `json:"family"`
	Port    int    `json:"port"`
}

type queryReply struct {
	Cmd      string          `json:"cmd"`
	Ack      int64           `json:"ack"`
	Key      string          `json:"key"`
	Errno    *int            `json:"errno"` // null means: the primary accepts and passes connections
	Data     json.RawMessage `json:"data"`
	Sockname *sockname       `json:"sockname,omitempty"`
	Seq      int64           `json:"seq"`
}

type plain struct {
	Cmd  string          `json:"cmd"`
	Act  string          `json:"act,omitempty"`
	Ack  *int64          `json:"ack,omitempty"`
	N    int64           `json:"n,omitempty"`
	Body json.RawMessage `json:"body,omitempty"`
	Seq  int64           `json:"seq"`
}

// shared is a queryReply that carries a socket.
type shared struct {
	Cmd  string     `json:"cmd"`
	Type string     `json:"type"`
	Msg  queryReply `json:"msg"`
}

type newConn struct {
	Cmd string   `json:"cmd"`
	Act string   `json:"act"`
	Key string   `json:"key"`
	Seq int64    `json:"seq"`
	Rem *address `json:"remote,omitempty"` // for the preload, as is Say; Node ignores it
	Say []byte   `json:"say,omitempty"`
}

type address struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
	Family  string `json:"family"`
}

type handleEnvelope struct {
	Cmd  string  `json:"cmd"`
	Type string  `json:"type"`
	Msg  newConn `json:"msg"`
}

// query turns a queryServer message into a Query. The key is built as Node 22 builds it: without the index unless the port is 0, so
// that two listen calls for one port collide as they should.
func (m inbound) query() Query {
	q := Query{Port: -1, Data: m.Data, FD: m.FD != nil && *m.FD >= 0, IPv6Only: m.Flags&1 != 0}
	if m.Address != nil {
		q.Address = *m.Address
	}
	if m.Port != nil {
		q.Port = *m.Port
	}
	q.Family = string(m.AddrType)
	if s, err := strconv.Unquote(q.Family); err == nil {
		q.Family = s
	}
	q.Reuse = q.UDP() && m.Flags&4 != 0
	addr := q.Address
	if m.Address == nil {
		addr = "null"
	}
	q.Key = addr + ":" + strconv.Itoa(q.Port) + ":" + q.Family
	if q.Port == 0 {
		q.Key += ":" + strconv.Itoa(m.Index)
	}
	return q
}

// Load is what the preload reports of its process: at once when it begins or stops to accept by itself, every 50 ms while what it has changes (5 ms where
// connections take as long or longer), and every 100 ms in any case, as a sign of life.
type Load struct {
	Open   int               `json:"open"`   // Open connections that it accepted from listening sockets of its own (count).
	Taken  map[string]uint64 `json:"taken"`  // Taken is how many it ever accepted from each, by key (count).
	Timed  uint64            `json:"timed"`  // Timed is the number of these whose time was taken, a sample (count).
	Spent  float64           `json:"spent"`  // Spent is the sum of these times (milliseconds).
	Held   bool              `json:"held"`   // Held: the app limits the connections of a server itself.
	Shut   bool              `json:"shut"`   // Shut: it accepts nothing by itself any more.
	Active float64           `json:"active"` // Active is for how long its event loop has worked (milliseconds).
	Idle   float64           `json:"idle"`   // Idle is for how long its event loop has waited (milliseconds).
}
