package mesh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

func TestRecordsArriveWithin100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		peers := w.cluster(3)
		w.eventually(time.Second, "links", func() bool { return peers[0].linkUp("n1") && peers[0].linkUp("n2") })
		want := mesh.Load{
			AppliedIndex: 42, Connections: 3, ForwardedIn: 4, ForwardedOut: 5, Busy: 0.5,
			Apps: []mesh.AppLoad{{App: "shop", Ready: 4, Outstanding: 3, Long: 2, Service: 10 * time.Millisecond}},
		}
		peers[1].Report(want)
		took := w.eventually(100*time.Millisecond, "the record", func() bool { return peers[0].Loads()["n1"].AppliedIndex == 42 })
		t.Logf("took %v", took)
		got := peers[0].Loads()["n1"]
		want.Seq = 1
		if diff := cmp.Diff(want, got.Load); diff != "" {
			t.Error(diff)
		}
		if !got.Link || time.Since(got.ReceivedAt) > 20*time.Millisecond {
			t.Errorf("link %v, received %v ago", got.Link, time.Since(got.ReceivedAt))
		}
		// The same record over and over is a heartbeat, no news.
		<-time.After(2 * time.Second)
		if heard := peers[0].heard("n1"); len(heard) != 2 { // the empty record before the first report, and this one
			t.Errorf("OnLoad was called %d times", len(heard))
		}
		if up, _ := peers[0].linked("n1"); !slices.Equal(up, []bool{true}) {
			t.Errorf("OnLink: %v", up)
		}
	})
}

func TestLinkOfAStoppedPeerIsDownAfter150ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		w.eventually(time.Second, "link", func() bool { return peers[0].linkUp("n1") })
		peers[1].host.Stop()
		took := w.eventually(210*time.Millisecond, "link down", func() bool { return !peers[0].linkUp("n1") })
		if took < 90*time.Millisecond {
			t.Errorf("down after %v: too nervous", took)
		}
		// The stream is kept and recovers at once.
		peers[1].host.Resume()
		w.eventually(60*time.Millisecond, "link up", func() bool { return peers[0].linkUp("n1") })
		if up, _ := peers[0].linked("n1"); !slices.Equal(up, []bool{true, false, true}) {
			t.Errorf("OnLink: %v", up)
		}
	})
}

func TestLinkOfAKilledPeerIsDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		w.eventually(time.Second, "link", func() bool { return peers[0].linkUp("n1") })
		peers[1].host.Kill()
		if took := w.eventually(50*time.Millisecond, "link down", func() bool { return !peers[0].linkUp("n1") }); took > 10*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestDrainingPeerHasNoLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		w.eventually(time.Second, "link", func() bool { return peers[0].linkUp("n1") })
		peers[1].Report(mesh.Load{Draining: true})
		w.eventually(100*time.Millisecond, "link down", func() bool { return !peers[0].linkUp("n1") })
		<-time.After(3 * time.Second)
		if s := peers[0].status("n1"); s != mesh.Alive {
			t.Errorf("a draining peer is %s", s)
		}
		peers[1].Report(mesh.Load{})
		w.eventually(100*time.Millisecond, "link up", func() bool { return peers[0].linkUp("n1") })
	})
}

// Without load streams records come by gossip, once a second, and never count as a link.
func TestGossipIsTheFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		noStreams := func(o *mesh.Options) {
			o.DialLoad = func(context.Context, string) (net.Conn, error) { return nil, errors.New("blocked") }
		}
		a, b := w.start(node(0), noStreams), w.start(node(1), nil)
		w.join(a, b)
		many := make([]mesh.AppLoad, 40) // more than a packet holds
		for i := range many {
			many[i].App = fmt.Sprintf("%s-%d", strings.Repeat("a", 50), i)
		}
		b.Report(mesh.Load{Connections: 1, Apps: many[:2]})
		w.eventually(3*time.Second, "the first record", func() bool { return a.Loads()["n1"].Connections == 1 })
		if n := len(a.Loads()["n1"].Apps); n != 2 {
			t.Errorf("%d apps", n)
		}
		b.Report(mesh.Load{Connections: 2, Apps: many})
		w.eventually(3*time.Second, "the second record", func() bool { return a.Loads()["n1"].Connections == 2 })
		if n := len(a.Loads()["n1"].Apps); n != 0 {
			t.Errorf("%d apps of a record that is too large for a packet", n)
		}
		if up, _ := a.linked("n1"); len(up) != 0 || a.linkUp("n1") {
			t.Errorf("gossip made a link: %v", up)
		}
		if a.status("n1") != mesh.Suspect {
			t.Errorf("a peer whose stream cannot be opened is %s", a.status("n1"))
		}
	})
}

func TestGossipNeverOverwritesNewerStreamRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: 2 * time.Millisecond, Jitter: 300 * time.Millisecond, Seed: 5})
		peers := w.cluster(3)
		for range 100 {
			<-time.After(50 * time.Millisecond)
			peers[1].Report(mesh.Load{})
		}
		synctest.Wait()
		for _, p := range []*peer{peers[0], peers[2]} {
			heard := p.heard("n1")
			for i := 1; i < len(heard); i++ {
				if heard[i].Seq <= heard[i-1].Seq {
					t.Fatalf("%s heard %d after %d", p.name, heard[i].Seq, heard[i-1].Seq)
				}
			}
			if len(heard) < 10 {
				t.Errorf("%s heard only %d records", p.name, len(heard))
			}
		}
	})
}

func TestApertureOfALargeCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(19)
		w.eventually(3*time.Second, "16 links each", func() bool {
			return !slices.ContainsFunc(peers, func(p *peer) bool { return countLinks(p) != 16 })
		})
	})
}

func countLinks(p *peer) int {
	n := 0
	for _, l := range p.Loads() {
		if l.Link {
			n++
		}
	}
	return n
}

// Addresses change hands: a stream from somebody else is not taken for the peer's.
func TestStreamOfAnotherNodeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		var impostor *peer
		a := w.start(node(0), func(o *mesh.Options) {
			dial := o.DialLoad
			o.DialLoad = func(ctx context.Context, addr string) (net.Conn, error) {
				if addr == addrOf(1) {
					addr = impostor.host.Addr()
				}
				return dial(ctx, addr)
			}
		})
		impostor = w.start(node(2), nil)
		b := w.start(node(1), nil)
		w.join(a, b)
		<-time.After(3 * time.Second)
		if up, _ := a.linked("n1"); len(up) != 0 {
			t.Errorf("links to n1: %v", up)
		}
	})
}

// A stream whose certificate names another node is not taken for the peer's, whatever its hello says.
func TestStreamOfAnotherCertificateIsRefused(t *testing.T) {
	for certified, want := range map[string]bool{"n1": true, "n2": false, "": false} {
		t.Run(certified, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, meshtest.Options{})
				a := w.start(node(0), func(o *mesh.Options) {
					dial := o.DialLoad
					o.DialLoad = func(ctx context.Context, addr string) (net.Conn, error) {
						c, err := dial(ctx, addr)
						return certifiedConn{c, certified}, err
					}
				})
				b := w.start(node(1), nil)
				w.join(a, b)
				<-time.After(3 * time.Second)
				if up, _ := a.linked("n1"); len(up) > 0 != want {
					t.Errorf("links to n1: %v", up)
				}
			})
		})
	}
}

type certifiedConn struct {
	net.Conn
	name string
}

func (c certifiedConn) PeerName() string { return c.name }

// A peer that sends junk is dropped and dialed again with back-off, and costs nobody else anything.
func TestJunkOnALoadStream(t *testing.T) {
	junk := map[string][]byte{
		"empty frame":  {0, 0},
		"huge frame":   {0xff, 0xff},
		"bad hello":    {3, 0, 99, 'n', '1'},
		"short hello":  {3, 0, 1, 'n', '1'},
		"cut short":    {9, 0, 1, 'n'},
		"bad record":   {11, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 'n', '1', 2, 0, 1, 1},
		"silent":       {},
		"only a hello": {11, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 'n', '1'},
	}
	for name, bytes := range junk {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, meshtest.Options{})
				var dials atomic.Int32
				a := w.start(node(0), func(o *mesh.Options) {
					dial := o.DialLoad
					o.DialLoad = func(ctx context.Context, addr string) (net.Conn, error) {
						if addr != addrOf(1) {
							return dial(ctx, addr)
						}
						dials.Add(1)
						near, far := net.Pipe()
						go func() { _, _ = far.Write(bytes) }()
						return near, nil
					}
				})
				b, c := w.start(node(1), nil), w.start(node(2), nil)
				w.join(a, b)
				w.join(c, b)
				w.eventually(3*time.Second, "the link to n2", func() bool { return a.linkUp("n2") })
				<-time.After(20 * time.Second)
				if up, _ := a.linked("n1"); len(up) != 0 {
					t.Errorf("links to n1: %v", up)
				}
				if !a.linkUp("n2") {
					t.Error("the link to n2 suffered")
				}
				if n := dials.Load(); n < 3 || n > 25 {
					t.Errorf("%d dials in 20 s", n)
				}
			})
		})
	}
}

// A client that opens load streams and does not read, or opens too many, is bounded.
func TestFeedsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		w.eventually(time.Second, "link", func() bool { return peers[0].linkUp("n1") })
		client := w.net.Host("10.9.9.9:1")
		dial := client.Dialer("load")
		var open []net.Conn
		for range 300 {
			c, err := dial(t.Context(), peers[1].host.Addr())
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
		synctest.Wait()
		<-time.After(3 * time.Second)
		closed := 0
		for _, c := range open {
			buf := make([]byte, 64<<10)
			err := c.SetReadDeadline(time.Now().Add(10 * time.Second))
			for err == nil {
				_, err = c.Read(buf)
			}
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				closed++
			}
			_ = c.Close()
		}
		if closed != len(open) {
			t.Errorf("%d of %d streams that nobody read were closed", closed, len(open))
		}
		if !peers[0].linkUp("n1") {
			t.Error("the honest link suffered")
		}
	})
}

func TestReportLeavesOutWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		apps := []mesh.AppLoad{{App: strings.Repeat("x", mesh.MaxAppName+1)}}
		for i := range mesh.MaxApps + 5 {
			apps = append(apps, mesh.AppLoad{App: fmt.Sprintf("%063d", i)})
		}
		peers[1].Report(mesh.Load{Apps: apps})
		w.eventually(time.Second, "the record", func() bool { return len(peers[0].Loads()["n1"].Apps) == mesh.MaxApps })
		if first := peers[0].Loads()["n1"].Apps[0].App; first != fmt.Sprintf("%063d", 0) {
			t.Errorf("first app %q", first)
		}
		if len(apps) != mesh.MaxApps+6 || apps[0].App[0] != 'x' {
			t.Error("the caller's apps were changed")
		}
		if n := len(mesh.Load{Apps: apps}.Append(nil)); n > 1<<16-1 {
			t.Errorf("a record of %d bytes does not fit a frame", n)
		}
	})
}

// The frame's length field must hold the largest record.
func TestFrameHoldsTheLargestRecord(t *testing.T) {
	var apps []mesh.AppLoad
	for i := range mesh.MaxApps {
		apps = append(apps, mesh.AppLoad{App: fmt.Sprintf("%0*d", mesh.MaxAppName, i)})
	}
	b := mesh.Load{Apps: apps}.Append(nil)
	if len(b) > int(binary.LittleEndian.Uint16([]byte{0xff, 0xff})) {
		t.Errorf("%d bytes", len(b))
	}
	if _, err := mesh.DecodeLoad(b); err != nil {
		t.Error(err)
	}
}
