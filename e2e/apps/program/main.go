package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// ownPort is where it listens when nobody tells it.
const ownPort = "8000"

func main() {
	l, err := listen()
	if err == nil {
		err = (&http.Server{Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 5 * time.Second}).Serve(l)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "1" && os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) {
		return net.FileListener(os.NewFile(3, "listen"))
	}
	if port := os.Getenv("PORT"); port != "" {
		return net.Listen("tcp", "127.0.0.1:"+port)
	}
	return net.Listen("tcp", ":"+ownPort)
}

func answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Has("n") { // a request of the counted load
		us, _ := strconv.Atoi(q.Get("us"))
		time.Sleep(time.Duration(us) * time.Microsecond)
		_, _ = fmt.Fprintf(w, "answer %s from %d\n", q.Get("n"), os.Getpid())
		return
	}
	ms, _ := strconv.Atoi(q.Get("ms"))
	time.Sleep(time.Duration(ms) * time.Millisecond)
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	_ = json.NewEncoder(w).Encode(map[string]any{"node": os.Getenv("MESHNODE_NODE"), "worker": os.Getenv("NODE_APP_INSTANCE"), "pid": os.Getpid(), "remote": host})
}
