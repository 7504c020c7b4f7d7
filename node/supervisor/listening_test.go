package supervisor

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// What a worker's tree listens on by itself, and nothing else.
func TestListeningOfATree(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, roles["listen"]+" & \n"+roles["ready"]+"\nwait")
	s.Serves, s.WaitReady = true, false // ready once it accepts on PORT
	b.start(s, StartFirst)
	b.ready(1)
	addr := netip.MustParseAddrPort(b.r.worker("app/0#1").Addr)
	pids := marked([]byte(runVariable+"="+b.id+"/app/0#1"), nil)
	got, err := Listening(pids)
	if err != nil || !slices.Equal(got, []netip.AddrPort{addr}) {
		t.Errorf("processes %v listen on %v, %v; want %s", pids, got, err, addr)
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Logf("no socket on %s: %v", host, err)
			continue
		}
		defer l.Close()
		ours, err := Listening([]int{os.Getpid(), 1 << 30})
		if want := l.Addr().(*net.TCPAddr).AddrPort(); err != nil || !slices.Contains(ours, want) || slices.Contains(ours, addr) {
			t.Errorf("we listen on %v, %v; want %s among them", ours, err, want)
		}
	}
}

func TestKernelAddresses(t *testing.T) {
	for text, want := range map[string]string{"0100007F:1F90": "127.0.0.1:8080", "00000000000000000000000001000000:0016": "[::1]:22"} {
		if a, ok := kernelAddr(text); !ok || a.String() != want {
			t.Errorf("%s is %s, want %s", text, a, want)
		}
	}
	for _, text := range []string{"", "01:1", "zz:1", "0100007F", "0100007F:zz", strings.Repeat("00", 8) + ":1"} {
		if a, ok := kernelAddr(text); ok {
			t.Errorf("%q is %s", text, a)
		}
	}
}

// A launcher's app is caught, the launcher is not.
func TestNodeWorkerBelowALauncher(t *testing.T) {
	b := newBench(t)
	s := b.node(1, `
		require('http').createServer().listen(3000, () => console.log('up'));
		process.on('SIGTERM', () => console.log('told to end'));`)
	s.Command = []string{"sh", "-c", s.Command[0] + " --watch " + s.Command[1] + "; :"}
	b.start(s, StartFirst)
	b.ready(1)
	if !b.r.has("listen app/0#1") {
		t.Errorf("router: %v", b.r.said())
	}
	got, err := Listening(marked([]byte(runVariable+"="+b.id+"/app/0#1"), nil))
	if err != nil || len(got) > 0 {
		t.Errorf("the app listens past us, on %v, %v", got, err)
	}
	b.start(b.node(2, `require('http').createServer().listen(3000);`), StartFirst)
	b.ready(2)
	b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
}
