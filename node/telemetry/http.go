package telemetry

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Serve answers /metrics (Prometheus) and /healthz (200 while healthy says so, else 503) on l until l is closed, which ends the
// connections too. It returns nil then.
func Serve(l net.Listener, m *Metrics, healthy func() (ok bool, why string)) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		ok, why := healthy()
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(why + "\n"))
	})
	s := &http.Server{Handler: notForPages(mux), ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	defer s.Close() // the connections that are still open
	if err := s.Serve(newCrowd(l, maxConns, func() { m.IncrCounter(metricCrowded, 1) })); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// notForPages refuses what a page has a browser ask. A page of elsewhere names its origin; one whose own name server says that its name leads to this
// server (DNS rebinding) has the browser take this server for its own, and then the name in the request is one that means nothing here.
func notForPages(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || toLoopback(r) && !ownName(r.Host) {
			http.Error(w, "this is not for pages in a browser; ask by the address, or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// toLoopback reports whether a request came in at an address of this server alone. Where others can reach it, any name may lead to it.
func toLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && addr.IP.IsLoopback()
}

// ownName reports whether a Host header names this server in a way that no name server can make up.
func ownName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	return host == "" || err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
