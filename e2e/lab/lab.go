package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// number tells the labs of one test process apart.
var number atomic.Int64

// Lab is some hosts and a place for a client.
type Lab struct {
	t      testing.TB
	id     int
	dir    string
	Key    string // Key is the cluster key that every node gets.
	fabric fabric // nil = hosts are loopback addresses
	hosts  []*Host
	shared bool // dir is a mount of its own: see share

	mu    sync.Mutex
	nodes []*Node
}

// Host is one server to be.
type Host struct {
	lab  *Lab
	Name string
	IP   string

	number int
	ns     string // network namespace, "" on loopback
}

// fabric is what joins the hosts, and the place of the client, where they are network namespaces.
type fabric interface {
	open()               // makes the client's place
	plug(h *Host, i int) // gives the i-th host, whose namespace is there, its cable and its address
	link(i int, on bool) // pulls the cable of the i-th host, or plugs it in again
	place() string       // the client's namespace
	close()              // ends what is not a namespace
}

// New returns a lab with n hosts named h1, h2, ... on one bridge. It is removed with the test; a test that failed leaves its nodes' output in
// the log.
func New(t testing.TB, n int) *Lab {
	t.Helper()
	if !haveSpaces() {
		t.Log("no right to make network namespaces: hosts are loopback addresses")
		return build(t, n, nil)
	}
	return build(t, n, func(l *Lab) fabric { return &bridge{l} })
}

// build makes the lab and its hosts.
func build(t testing.TB, n int, of func(*Lab) fabric) *Lab {
	t.Helper()
	l := &Lab{t: t, id: int(number.Add(1)), dir: t.TempDir()}
	key, err := exec.Command(Binary(t), "keygen").Output()
	if err != nil {
		t.Fatalf("keygen: %v", err)
	}
	l.Key = strings.TrimSpace(string(key))
	t.Cleanup(l.close)
	if of != nil {
		l.fabric = of(l)
		l.fabric.open()
	}
	for range n {
		l.AddHost()
	}
	return l
}

// AddHost adds one more host.
func (l *Lab) AddHost() *Host {
	l.t.Helper()
	i := len(l.hosts) + 1
	h := &Host{lab: l, Name: fmt.Sprintf("h%d", i), number: i}
	l.hosts = append(l.hosts, h)
	if l.fabric == nil {
		h.IP = fmt.Sprintf("127.77.%d.%d", l.id%250, i)
		return h
	}
	h.ns, h.IP = fmt.Sprintf("%s-%d", l.prefix(), i), l.address(i)
	l.openSpace(h.ns)
	l.fabric.plug(h, i)
	return h
}

// Host returns the i-th host, from 1.
func (l *Lab) Host(i int) *Host { return l.hosts[i-1] }

// Spaces reports whether hosts are network namespaces.
func (l *Lab) Spaces() bool { return l.fabric != nil }

// App returns the absolute path of an app of the end-to-end tests.
func App(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root(t), "e2e", "apps", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// NeedNode skips a test where no node is installed.
func NeedNode(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node in PATH: install Node.js to run this test")
	}
}

func (l *Lab) close() {
	for _, n := range l.nodes {
		n.Kill()
		if l.t.Failed() {
			l.t.Logf("output of %s:\n%s", n.Name, n.Output())
		}
	}
	if l.fabric != nil {
		l.closeSpaces()
	}
}

var built struct {
	once sync.Once
	path string
	err  error
}

// Binary builds the product once for the test process and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		dir, err := os.MkdirTemp("", "meshnode-e2e-")
		if err != nil {
			built.err = err
			return
		}
		built.path = filepath.Join(dir, "meshnode")
		c := exec.Command("go", "build", "-o", built.path, "./cmd/meshnode")
		c.Dir = root(t)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// Cleanup removes the binary; call it at the end of TestMain.
func Cleanup() {
	if built.path != "" {
		os.RemoveAll(filepath.Dir(built.path))
	}
}

// root is the folder of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("the tests do not run inside the module")
	return ""
}

// Eventually polls cond until it holds, and fails the test with what it last said if it does not within limit.
func Eventually(t testing.TB, limit time.Duration, cond func() error) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		err := cond()
		took := time.Since(begun)
		if err == nil {
			return took
		}
		if took > limit {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// URL is the address of an app's port on the host.
func (h *Host) URL(port int, path string) string {
	return fmt.Sprintf("http://%s%s", net.JoinHostPort(h.IP, fmt.Sprint(port)), path)
}
