package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// serverWord is the first argument of this program where it is a server behind a front. The second says which.
const (
	serverWord = "server:"
	cheapKind  = "cheap" // as little processor time an answer as can be: NGINX with one worker
	sleepKind  = "sleep" // a simulated server: an answer takes the time that its request names
)

// bigAnswer is the size of /big of a cheap server, in bytes.
const bigAnswer = 1 << 20

func serverMain(kind string) int {
	err := fmt.Errorf("%s: no such server", kind)
	switch kind {
	case cheapKind:
		err = cheapServer()
	case sleepKind:
		err = sleepServer()
	}
	fmt.Fprintln(os.Stderr, "server:", err)
	return 1
}

// cheapServer becomes NGINX, with TLS where CERTS names a folder with certificates.
func cheapServer() error {
	port := os.Getenv("PORT")
	dir := filepath.Join(os.TempDir(), "cheap-"+port)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, bigAnswer), 0o644); err != nil {
		return err
	}
	tls, flag := "", ""
	if certs := os.Getenv("CERTS"); certs != "" {
		flag = " ssl"
		tls = fmt.Sprintf("ssl_certificate %[1]s/server.pem; ssl_certificate_key %[1]s/server.pem; ssl_client_certificate %[1]s/ca.pem; ssl_verify_client on; ssl_protocols TLSv1.3;", certs)
	}
	conf := fmt.Sprintf(`worker_processes 1; error_log error.log; pid nginx.pid; user root; daemon off; worker_rlimit_nofile 65536;
events { worker_connections 30000; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on; tcp_nopush on; open_file_cache max=10;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5; %s
  server { listen 127.0.0.1:%s backlog=8192%s; location = / { return 200 "hello"; } location = /big { alias %s/big; } } }
`, tls, port, flag, dir)
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(conf), 0o644); err != nil {
		return err
	}
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx"
	}
	return syscall.Exec(bin, []string{"nginx", "-p", dir, "-e", "error.log", "-c", name}, os.Environ())
}

// sleepServer handles SLOTS requests at once, the others wait their turn. A request takes the us microseconds that it names, times FACTOR on the server
// that is named SLOW. It sleeps, so that several servers of several cores fit on one machine.
func sleepServer() error {
	slots, err := strconv.Atoi(os.Getenv("SLOTS"))
	if err != nil {
		return fmt.Errorf("SLOTS: %w", err)
	}
	factor := 1.0
	if name := pick(os.Getenv("MESHNODE_NODE") != "", os.Getenv("MESHNODE_NODE"), os.Getenv("SERVER")); name == os.Getenv("SLOW") {
		if factor, err = strconv.ParseFloat(os.Getenv("FACTOR"), 64); err != nil {
			return fmt.Errorf("FACTOR: %w", err)
		}
	}
	free := make(chan struct{}, slots)
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		return err
	}
	return errors.Join(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		us, _ := strconv.ParseFloat(q.Get("us"), 64) // none: at once
		free <- struct{}{}
		ts := syscall.NsecToTimespec(int64(us * factor * 1000))
		for us > 0 && errors.Is(syscall.Nanosleep(&ts, &ts), syscall.EINTR) {
		}
		<-free
		fmt.Fprintf(w, "answer %s from %d\n", q.Get("n"), os.Getpid())
	})))
}
