package main

import (
	"fmt"
	"net/http"
	"os"
	"time"
)

func main() {
	me := os.Getenv("MESHNODE_NODE") + "/" + os.Getenv("NODE_APP_INSTANCE")
	answer := func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(20 * time.Millisecond) // as if it asked a database
		fmt.Fprintf(w, "hello from %s (pid %d)\n", me, os.Getpid())
	}
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: http.HandlerFunc(answer), ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
