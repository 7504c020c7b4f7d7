package nodeipc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A TLS server reads its ticket keys out of every reply, also out of one that is an error: without them it dies of a TypeError
// instead of telling the app what went wrong.
func TestNodeTLSServerSurvivesAnError(t *testing.T) {
	w := startNode(t, `
		process.on('uncaughtException', (e) => process.send('dies of ' + e.message));
		const https = require('https');
		https.createServer().listen(3000, () => https.createServer().on('error', (e) => process.send(e.code)).listen(3000));`)
	if got := w.message(); got != "EADDRINUSE" {
		t.Errorf("the app says %q", got)
	}
}

func TestDataIsNeverLost(t *testing.T) {
	for what, r := range map[string]Reply{
		"beside an error":                     {Errno: -int(syscall.EACCES)},
		"after a plain server on the address": {Port: 443, Data: json.RawMessage("null")},
	} {
		_, p, _ := connect(t, newRecorder(func(Query) Reply { return r }))
		got, err := json.Marshal(p.query("1", `"address":null,"port":443,"addressType":4`)["data"])
		if err != nil || string(got) != `{"k":[1,2]}` {
			t.Errorf("data %s: %s %v", what, got, err)
		}
	}
}

// certificate makes a key and a certificate for 127.0.0.1, in the files key.pem and cert.pem of a folder, and a pool that trusts it.
func certificate(t *testing.T) (dir string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), IsCA: true,
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, is, is, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir, pool = t.TempDir(), x509.NewCertPool()
	for name, b := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: raw}, "cert.pem": {Type: "CERTIFICATE", Bytes: cert}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return dir, pool
}

// One app, four ports, four kinds of servers.
func TestNodeAppOfSeveralPorts(t *testing.T) {
	dir, pool := certificate(t)
	app := script(t, "app.js", `
		const fs = require('fs'), dir = '`+dir+`';
		const keys = { key: fs.readFileSync(dir + '/key.pem'), cert: fs.readFileSync(dir + '/cert.pem') };
		const answer = (q, s) => s.end('HTTP/' + q.httpVersion + ' ' + q.socket.localPort);
		require('http').createServer(answer).listen(3000, () =>
			require('https').createServer(keys, answer).listen(3001, () =>
				require('http2').createSecureServer({ ...keys, allowHTTP1: true }, answer).listen(3002, () =>
					require('https').createServer(keys, answer).listen(3003))));`)
	for name, direct := range map[string]bool{"started": true, "below a shell": false} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(nodePath(t), app)
			if !direct {
				cmd = exec.Command("sh", "-c", "node "+app+"; :")
			}
			w := startTree(t, direct, cmd)
			for i, c := range []struct {
				url   string
				proto int
			}{{"http://127.0.0.1", 1}, {"https://127.0.0.1", 1}, {"https://127.0.0.1", 2}, {"https://127.0.0.1", 1}} {
				key := await(t, "listen call", w.key)
				if want := fmt.Sprintf("null:300%d:4", i); key != want {
					t.Errorf("key %q, want %q", key, want)
				}
				await(t, "listening", w.rec.listening)
				tr := &http.Transport{ForceAttemptHTTP2: c.proto == 2, TLSClientConfig: &tls.Config{RootCAs: pool},
					DialContext: func(context.Context, string, string) (net.Conn, error) { return w.bring(key) }}
				client := http.Client{Transport: tr, Timeout: limit}
				for range 3 {
					res, err := client.Get(c.url)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || res.ProtoMajor != c.proto || !strings.HasPrefix(string(body), "HTTP/"+strconv.Itoa(c.proto)) {
						t.Errorf("%s: %s over %s, %v", key, body, res.Proto, err)
					}
				}
				tr.CloseIdleConnections()
			}
		})
	}
}

// bring opens a connection and passes it to whoever holds key.
func (w *worker) bring(key string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp4", w.l.Addr().String(), limit)
	if err != nil {
		return nil, err
	}
	s, err := w.l.Accept()
	if err != nil {
		return nil, err
	}
	return c, w.give(key, s, netip.AddrPort{})
}

// give passes a connection to whoever holds key, and closes it here.
func (w *worker) give(key string, c net.Conn, remote netip.AddrPort) error {
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	o := make(chan Outcome, 1)
	err = raw.Control(func(fd uintptr) {
		failed = w.fam.Offer(key, int(fd), remote, func(r Outcome) { o <- r })
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if r := <-o; r != Accepted {
		return fmt.Errorf("outcome %d", r)
	}
	return nil
}
