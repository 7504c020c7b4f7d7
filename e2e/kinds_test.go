package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// certificate writes a key and a certificate for nobody in particular, and returns the files.
func certificate(t *testing.T, dir string) (key, cert string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	rawCert, err := x509.CreateCertificate(rand.Reader, about, about, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	key, cert = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	for path, b := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: rawKey}, cert: {Type: "CERTIFICATE", Bytes: rawCert}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, cert
}

// client is one for a kind of server.
func client(t *testing.T, dial func(context.Context, string, string) (net.Conn, error), h2, kept bool) *http.Client {
	tr := &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2, DisableKeepAlives: !kept}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}
}

// reloaded reloads an app under one load after the other, all at once, and reports what was lost.
func reloaded(t *testing.T, n *lab.Node, app string, loads map[string]*lab.Load) {
	t.Helper()
	before := pids(t, n)
	for _, load := range loads {
		lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 30) })
	}
	n.Must("reload", app)
	lab.Eventually(t, 60*time.Second, func() error { return replaced(before, pids(t, n)) })
	for kind, load := range loads {
		sent := load.Sent()
		lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+30) })
		total, failed, served := load.Stop()
		t.Logf("%s: %d of %d requests lost, by %v", kind, len(failed), total, served)
		for _, f := range failed {
			t.Errorf("%s: %s", kind, f)
		}
		if len(served) < 2 && !strings.Contains(kind, "kept") && kind != "a Unix path" { // one connection, or the kernel's choice
			t.Errorf("%s: served by %v, want both workers", kind, served)
		}
	}
}

// One Node.js app with several ports of several kinds is reloaded under load on each of them.
func TestServersOfEveryKind(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	dir := t.TempDir()
	key, cert := certificate(t, dir)
	path := filepath.Join(dir, "app.sock")
	n.Must("start", "-i", "2", "-env", "KEY="+key, "-env", "CERT="+cert, "-env", "SOCKET="+path, "-drain-timeout", "5s", lab.App(t, "many.js"))
	unix := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	https := func(port int) string { return fmt.Sprintf("https://%s:%d/", n.IP, port) }
	loads := map[string]*lab.Load{}
	for kind, of := range map[string]struct {
		c   *http.Client
		url string
	}{
		"the first port":  {l.Client(true), n.URL(3000, "/")},
		"the second port": {l.Client(true), n.URL(3001, "/")},
		"HTTPS":           {client(t, l.DialContext, false, false), https(3443)},
		"HTTPS, kept":     {client(t, l.DialContext, false, true), https(3443)},
		"HTTP/2":          {client(t, l.DialContext, true, false), https(3444)},
		"HTTP/2, kept":    {client(t, l.DialContext, true, true), https(3444)},
		"a Unix path":     {client(t, unix, false, false), "http://app/"},
	} {
		loads[kind] = lab.StartLoad(30, []*http.Client{of.c}, []string{of.url})
	}
	echo := make(chan error, 1)
	stop := make(chan struct{})
	go func() { echo <- datagrams(t, l, n.IP+":3053", stop) }()
	reloaded(t, n, "many", loads)
	close(stop)
	if err := <-echo; err != nil {
		t.Error(err)
	}
}

// datagrams sends one after the other, and wants an answer to each.
func datagrams(t *testing.T, l *lab.Lab, addr string, stop <-chan struct{}) error {
	c, err := l.DialContext(context.Background(), "udp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 512)
	for k := 0; ; k++ {
		select {
		case <-stop:
			t.Logf("UDP: all %d datagrams answered", k)
			return nil
		case <-time.After(20 * time.Millisecond):
		}
		if _, err := c.Write([]byte("who?")); err != nil {
			return err
		}
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := c.Read(b); err != nil {
			return fmt.Errorf("datagram %d has no answer: %w", k, err)
		}
	}
}

// An app that calls cluster itself, and one behind npm start, are reloaded under load like any other.
func TestOwnClusterAndNpmStart(t *testing.T) {
	lab.NeedNode(t)
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("no npm in PATH: install it with Node.js to run this test")
	}
	dir := t.TempDir()
	text := fmt.Sprintf(`{"name": "web", "private": true, "scripts": {"start": "node %s"}}`, lab.App(t, "plain.js"))
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"primary": {lab.App(t, "primary.js")}, "npm": {"-cwd", dir, "npm", "--", "start"}} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, 1)
			n := l.Cluster()[0]
			n.Must("start", append([]string{"-n", "web", "-i", "2"}, args...)...)
			url := n.URL(3000, "/")
			reloaded(t, n, "web", map[string]*lab.Load{"new connections": startLoad(t, l.Client(true), url), "kept connections": startLoad(t, l.Client(false), url)})
			n.Must("stop", "web")
		})
	}
}
