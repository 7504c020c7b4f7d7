package nodeipc

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func listens(Query) Reply {
	return Reply{Address: "::", Port: 3000, IPv6: true, Data: json.RawMessage(`{"k":[1,2]}`)}
}

func TestQueryIsAnswered(t *testing.T) {
	var asked []Query
	h := newRecorder(func(q Query) Reply {
		asked = append(asked, q)
		return listens(q)
	})
	_, p, done := connect(t, h)
	got := p.query("7", `"address":null,"port":3000,"addressType":4,"fd":null`)
	want := map[string]any{"cmd": "NODE_CLUSTER", "ack": 7.0, "key": "null:3000:4", "errno": nil, "data": map[string]any{"k": []any{1.0, 2.0}},
		"sockname": map[string]any{"address": "::", "family": "IPv6", "port": 3000.0}, "seq": 1.0}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("reply (-want +got):\n%s", d)
	}
	path := p.query("8", `"address":"/run/app.sock","port":-1,"addressType":-1`)
	if _, ok := path["sockname"]; ok || path["key"] != "/run/app.sock:-1:-1" {
		t.Errorf("reply for a path: %v", path)
	}
	any1 := p.query("9", `"address":"::1","port":0,"addressType":6,"flags":1,"index":3`)
	if any1["key"] != "::1:0:6:3" {
		t.Errorf("the key for any port has its index: %v", any1["key"])
	}
	udp := p.query("10", `"address":null,"port":53,"addressType":"udp4"`)
	if udp["key"] != "null:53:udp4" {
		t.Errorf("key for udp: %v", udp["key"])
	}
	p.query("11", `"address":null,"port":null,"addressType":null,"fd":5`)
	wantQ := []Query{
		{Key: "null:3000:4", Port: 3000, Family: "4"}, {Key: "/run/app.sock:-1:-1", Address: "/run/app.sock", Port: -1, Family: "-1"},
		{Key: "::1:0:6:3", Address: "::1", Family: "6", IPv6Only: true}, {Key: "null:53:udp4", Port: 53, Family: "udp4"},
		{Key: "null:-1:null", Port: -1, Family: "null", FD: true},
	}
	p.conn.Close()
	await(t, "end of the channel", done)
	for i := range asked {
		asked[i].Data = nil
	}
	if d := cmp.Diff(wantQ, asked); d != "" {
		t.Errorf("queries (-want +got):\n%s", d)
	}
	if !asked[3].UDP() || asked[0].UDP() {
		t.Error("UDP is told by the family")
	}
}

func TestOneKeyIsHeldOnce(t *testing.T) {
	h := newRecorder(listens)
	_, p, _ := connect(t, h)
	fields := `"address":null,"port":3000,"addressType":4`
	if r := p.query("1", fields); r["errno"] != nil {
		t.Fatalf("first listen: %v", r)
	}
	if r := p.query("2", fields); r["errno"] != -float64(syscall.EADDRINUSE) {
		t.Errorf("the same port twice in one worker: %v", r)
	}
	p.say(`{"cmd":"NODE_CLUSTER","act":"listening","seq":3,"port":3000}`)
	await(t, "listening", h.listening)
	p.say(`{"cmd":"NODE_CLUSTER","act":"close","key":"null:3000:4","seq":4}`)
	if key := await(t, "close", h.unlisten); key != "null:3000:4" {
		t.Errorf("closed %q", key)
	}
	if r := p.query("5", fields); r["errno"] != nil {
		t.Errorf("listening again after the close: %v", r)
	}
}

func TestListenErrorReachesTheApp(t *testing.T) {
	h := newRecorder(func(Query) Reply { return Reply{Errno: -int(syscall.EACCES)} })
	_, p, _ := connect(t, h)
	for range 2 { // a failed listen holds nothing
		r := p.query("1", `"address":null,"port":80,"addressType":4`)
		if r["errno"] != -float64(syscall.EACCES) || r["sockname"] != nil {
			t.Errorf("reply: %v", r)
		}
	}
}

func TestAcknowledgements(t *testing.T) {
	h := newRecorder(listens)
	ch, p, _ := connect(t, h)
	p.say(`{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":41}`)
	if m := p.hear(); m["ack"] != 41.0 || m["cmd"] != cmdCluster {
		t.Errorf("worker.disconnect() waits for its ack: %v", m)
	}
	b := []byte(`{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"x"}` + "\n")
	if _, _, err := p.conn.WriteMsgUnix(b, unix.UnixRights(spare(t)), nil); err != nil {
		t.Fatal(err)
	}
	if m := p.hear(); m["cmd"] != cmdHandleAck {
		t.Errorf("a descriptor of the app's is acknowledged: %v", m)
	}
	for _, f := range []func() error{ch.Drain, ch.Disconnect} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	if m := p.hear(); m["cmd"] != cmdPreload || m["act"] != "drain" {
		t.Errorf("drain: %v", m)
	}
	if m := p.hear(); m["cmd"] != cmdCluster || m["act"] != "disconnect" {
		t.Errorf("disconnect: %v", m)
	}
}

func TestOffers(t *testing.T) {
	ch, p, _ := connect(t, newRecorder(listens))
	o := newOutcomes()
	offer := func(name string, remote netip.AddrPort) (seq string) {
		t.Helper()
		if err := ch.Offer("k", spare(t), remote, o.of(name)); err != nil {
			t.Fatal(err)
		}
		m := p.hear()
		msg, _ := m["msg"].(map[string]any)
		if m["cmd"] != cmdHandle || m["type"] != "net.Native" || msg["act"] != "newconn" || msg["key"] != "k" {
			t.Fatalf("offer: %v", m)
		}
		if _, ok := msg["remote"]; ok != remote.IsValid() {
			t.Errorf("remote of %s: %v", name, msg["remote"])
		}
		return strconv.Itoa(int(msg["seq"].(float64)))
	}
	ack := func(seq, accepted string) {
		p.say(`{"cmd":"NODE_CLUSTER","ack":` + seq + `,"accepted":` + accepted + `,"seq":1}`)
	}
	a := offer("taken", netip.AddrPort{})
	b := offer("refused", netip.MustParseAddrPort("[::ffff:203.0.113.9]:4711"))
	offer("lost descriptor", netip.AddrPort{})
	offer("unanswered", netip.AddrPort{})
	if len(p.fds) != 4 {
		t.Fatalf("%d descriptors arrived, want 4", len(p.fds))
	}
	p.say(`{"cmd":"NODE_HANDLE_ACK"}`)
	p.say(`{"cmd":"NODE_HANDLE_ACK"}`)
	p.say(`{"cmd":"NODE_HANDLE_NACK"}`)
	ack(b, "false")
	ack(a, "true")
	ack(a, "false") // once is enough
	ack("999", "true")
	p.say(`{"cmd":"NODE_HANDLE_NACK"}`)
	p.say(`{"cmd":"NODE_HANDLE_ACK"}`) // of nothing
	for range 4 {
		await(t, "outcome", o.c)
	}
	o.expect(t, "taken", Accepted)
	o.expect(t, "refused", Refused)
	o.expect(t, "lost descriptor", Refused)
	o.expect(t, "unanswered", Refused)
}

func TestOfferOfADeadWorkerIsLost(t *testing.T) {
	ch, p, done := connect(t, newRecorder(listens))
	o := newOutcomes()
	for _, name := range []string{"a", "b"} {
		if err := ch.Offer("k", spare(t), netip.AddrPort{}, o.of(name)); err != nil {
			t.Fatal(err)
		}
	}
	p.conn.Close()
	if err := await(t, "end of the channel", done); err != nil {
		t.Errorf("Run: %v", err)
	}
	o.expect(t, "a", Lost)
	o.expect(t, "b", Lost)
	if err := ch.Offer("k", spare(t), netip.AddrPort{}, o.of("late")); !errors.Is(err, ErrClosed) {
		t.Errorf("offer after the end: %v", err)
	}
	o.expect(t, "late")
}

// A worker that stopped reading must hold up neither the offerer nor Close.
func TestOfferNeverBlocks(t *testing.T) {
	ch, _, done := connect(t, newRecorder(listens))
	o := newOutcomes()
	fd, n := spare(t), 0
	var err error
	for ; n < 10*maxUnacked && err == nil; n++ {
		err = ch.Offer("k", fd, netip.AddrPort{}, o.of(strconv.Itoa(n)))
	}
	n-- // the last one failed
	if !errors.Is(err, ErrBusy) && !errors.Is(err, syscall.ETOOMANYREFS) {
		t.Fatalf("after %d offers: %v", n, err)
	}
	ch.Close()
	await(t, "end of the channel", done)
	for i := range n {
		o.expect(t, strconv.Itoa(i), Lost)
	}
	o.expect(t, strconv.Itoa(n))
}

// A worker that asks without reading the answers is cut off, where the replies no longer fit.
func TestWorkerThatNeverReadsIsCutOff(t *testing.T) {
	_, p, done := connect(t, newRecorder(listens))
	b := []byte(strings.Repeat(`{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":1}`+"\n", 1000))
	for {
		if _, err := p.conn.Write(b); err != nil {
			break
		}
	}
	if err := await(t, "end of the channel", done); !errors.Is(err, ErrBusy) {
		t.Errorf("Run: %v", err)
	}
}

func TestAppMessages(t *testing.T) {
	h := newRecorder(listens)
	ch, p, _ := connect(t, h)
	for _, m := range []string{`"ready"`, `{"type":"x","seq":"text"}`, `{"cmd":"mine"}`, `[1]`, `null`, `3`, `"` + strings.Repeat("y", 300<<10) + `"`} {
		go p.say(m)
		if got := await(t, "message", h.messages); string(got) != m {
			t.Errorf("message %.40q arrived as %.40q", m, got)
		}
	}
	p.say("") // a blank line is nothing
	go func() {
		p.say(`"` + strings.Repeat("z", maxLine) + `"`)
		p.say(`"after"`)
	}()
	if got := await(t, "message", h.messages); string(got) != `"after"` {
		t.Errorf("after one that is too large: %.40q", got)
	}
	if ch.Skipped() != 1 {
		t.Errorf("skipped %d messages, want 1", ch.Skipped())
	}
}

func TestJunkEndsTheChannel(t *testing.T) {
	ch, p, done := connect(t, newRecorder(listens))
	o := newOutcomes()
	if err := ch.Offer("k", spare(t), netip.AddrPort{}, o.of("open")); err != nil {
		t.Fatal(err)
	}
	p.say("Segmentation fault")
	if err := await(t, "end of the channel", done); err == nil || !strings.Contains(err.Error(), "not a message") {
		t.Errorf("Run: %v", err)
	}
	o.expect(t, "open", Lost)
}

// FuzzWorkerMessages feeds what a worker may write: it may end the channel, and must settle every offer once.
func FuzzWorkerMessages(f *testing.F) {
	for _, s := range []string{
		"\n", "{}\n", "nul\n", "\"ready\"\n", "{\"cmd\":\"NODE_HANDLE_ACK\"}\n{\"cmd\":\"NODE_HANDLE_NACK\"}\n{\"cmd\":\"NODE_HANDLE_NACK\"}\n",
		"{\"cmd\":\"NODE_CLUSTER\",\"ack\":1,\"accepted\":true}\n{\"cmd\":\"NODE_CLUSTER\",\"ack\":1}\n", "{\"cmd\":\"NODE_HANDLE\"}\n",
		"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"queryServer\",\"address\":null,\"port\":0,\"addressType\":\"udp6\",\"index\":-1}\n",
		"{\"cmd\":\"NODE_CLUSTER\",\"act\":\"close\",\"key\":\"k\"}\n", "{\"cmd\":\"NODE_CLUSTER\",\"act\":\"listening\"}\n", "{\"cmd\":\"NODE_CLUSTER\"",
		"{\"cmd\":\"NODE_MESHNODE\",\"act\":\"hello\"}\n{\"cmd\":\"NODE_MESHNODE\",\"act\":\"pong\",\"n\":-1}\n", "{\"cmd\":\"NODE_\",\"seq\":1e99}\n", "[[[[\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		defer theirs.Close()
		ch := New(ours, discard{})
		var settled atomic.Int32
		if err := ch.Offer("k", int(theirs.Fd()), netip.AddrPort{}, func(Outcome) { settled.Add(1) }); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- ch.Run() }()
		unix.Write(int(theirs.Fd()), b[:min(len(b), 64<<10)])
		unix.Shutdown(int(theirs.Fd()), unix.SHUT_WR)
		select {
		case <-done:
		case <-time.After(limit):
			t.Fatal("the channel did not end")
		}
		if settled.Load() != 1 {
			t.Errorf("the offer was settled %d times", settled.Load())
		}
	})
}

type discard struct{}

func (discard) Listen(q Query) Reply    { return Reply{Data: q.Data} }
func (discard) Listening()              {}
func (discard) Unlisten(string)         {}
func (discard) Message(json.RawMessage) {}
func (discard) Load(Load)               {}
