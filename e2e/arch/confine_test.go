package arch

import (
	"go/ast"
	"slices"
	"strings"
)

var confinementRules = []rule{{"confined imports", checkConfinedImports}, {"confined calls", checkConfinedCalls}, {"plain tcp", checkPlainTCP}}

// confined is something that only some rooms may use.
type confined struct {
	what  []string // import paths, or "path.Name" of functions; "path..." for a path and all below it
	rooms []string // "x/..." for a room and all below it; nil = nobody
	tests bool     // tests of every room may
	why   string
}

var confinedImports = []confined{
	{[]string{gossip + "..."}, []string{"mesh"}, false, "gossip could be replaced by changing one room"},
	{[]string{raft}, []string{"store", "store/raftlog", "e2e"}, false, "so could the agreement; a test plays a server that lies"},
	{[]string{"github.com/hashicorp/raft-boltdb...", "go.etcd.io/bbolt...", "github.com/boltdb..."}, []string{"store/raftlog"}, false, "and the store on disk"},
	{[]string{"os/exec"}, []string{"node/supervisor", "e2e/..."}, true, "only the supervisor starts processes, on the main thread, with a parent-death signal"},
	{[]string{"os/signal"}, []string{"cmd/meshnode", "e2e/demo", "e2e/bench", "node/supervisor/keeper"}, false, "only a main program is told to stop by signals, below it a context ends; the keeper is told of its children by one"},
	{[]string{"github.com/mdlayher..."}, []string{"balancer/proxy"}, false, "the kernel is asked in one place"},
	{[]string{"github.com/pires..."}, []string{"balancer/proxy"}, false, "connections come in and go out in one place"},
	{[]string{successor + "...", armonProm, "github.com/prometheus..."}, []string{"node/telemetry"}, false, "one room configures metrics"},
	{[]string{"go.yaml.in..."}, []string{"node/config", "node/appfile"}, false, "the settings file and app files; nobody else reads what people write"},
	{[]string{"github.com/gofrs/flock", "github.com/hashicorp/go-sockaddr"}, []string{"node"}, false, "the data folder and the advertised address are decided once"},
	{[]string{"crypto/tls", "crypto/x509", "crypto/ecdsa", "crypto/ed25519", "crypto/hkdf"}, []string{"mesh/mux", "e2e/bench/front"}, true, "one room holds keys and certificates; the benchmark makes some for HAProxy"},
	{[]string{"net/http"}, []string{"node/api", "node/telemetry", "node/supervisor", "e2e/..."}, true, "the control API, the metrics and health checks; apps' traffic is never parsed"},
	{[]string{"expvar", "net/http/pprof"}, nil, false, "they open the process through a global handler"},
	{[]string{"log", "log/slog"}, []string{"mesh"}, true, "memberlist writes to the standard library's logger; all else goes through the logger that is handed in"},
	{[]string{"unsafe", "C"}, nil, false, "one static binary, and Go's memory safety"},
	{[]string{"plugin", "embed"}, []string{"node/supervisor/nodeipc"}, false, "the preload script is the only embedded file"},
	{[]string{"testing..."}, []string{"e2e/..."}, true, "no test code in the binary"},
	{[]string{"math/rand"}, nil, true, "math/rand/v2 took its place"},
	{[]string{"io/ioutil"}, nil, false, "os and io took its place"},
}

var confinedCalls = []confined{
	{[]string{"os.Exit"}, []string{"cmd/meshnode", "e2e/..."}, true, "deferred work is lost; errors are returned to main"},
	{[]string{hclog + ".New", hclog + ".Default", hclog + ".L", hclog + ".SetDefault"}, []string{"node/telemetry"}, true, "one root logger"},
	{[]string{armon + ".New", armon + ".NewGlobal", armon + ".Default", armon + ".NewInmemSink", armon + ".NewStatsdSink", armon + ".NewStatsiteSink",
		armon + ".IncrCounter", armon + ".SetGauge", armon + ".AddSample", armon + ".MeasureSince"}, []string{"node/telemetry"}, true, "one metrics instance, handed in"},
	{[]string{"os.Getenv", "os.LookupEnv", "os.Environ"}, []string{"cmd/meshnode", "node/supervisor", "e2e/..."}, true,
		"settings come through node/config, which is handed the environment; workers inherit it"},
	{[]string{"os.Chdir", "os.Setenv", "os.Unsetenv", "os.Clearenv"}, nil, false, "they change the whole process"},
	{[]string{"time.Tick"}, []string{"e2e/..."}, true, "a ticker with an owner that stops it"},
	{[]string{"time.Sleep"}, []string{"e2e/..."}, true, "wait for an event, a timer or a context; for tests see the rule on sleep"},
	{[]string{"net/http.Get", "net/http.Post", "net/http.Handle", "net/http.HandleFunc", "net/http.ListenAndServe"}, []string{"e2e/..."}, true, "no shared client or handler, and time limits everywhere"},
	{[]string{"fmt.Print", "fmt.Println", "fmt.Printf"}, []string{"e2e/..."}, false, "what an operator reads goes through the writer that is handed in"},
}

func checkConfinedImports(h *house) []string {
	var out []string
	for _, s := range h.sources {
		for _, i := range s.file.Imports {
			for _, c := range confinedImports {
				if c.names(pathOf(i)) && !c.allows(s) {
					out = append(out, h.at(i, "%s may not import %s: %s", s.room, pathOf(i), c.why))
				}
			}
		}
	}
	return out
}

func checkConfinedCalls(h *house) []string {
	var out []string
	for _, s := range h.sources {
		imports := importsOf(s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			pkg, name, ok := named(imports, e)
			if !ok {
				return true
			}
			for _, c := range confinedCalls {
				if slices.Contains(c.what, pkg+"."+name) && !c.allows(s) {
					out = append(out, h.at(n, "%s may not use %s.%s: %s", s.room, pkg, name, c.why))
				}
			}
			return true
		})
	}
	return out
}

func (c confined) names(p string) bool {
	return slices.ContainsFunc(c.what, func(w string) bool {
		prefix, open := strings.CutSuffix(w, "...")
		return p == w || open && (p == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(p, strings.TrimSuffix(prefix, "/")+"/"))
	})
}

func (c confined) allows(s source) bool { return under(s.room, c.rooms) || c.tests && s.test }

// checkPlainTCP finds sockets that Go would open with MPTCP: workers cannot use those, and they cannot be steered.
func checkPlainTCP(h *house) []string {
	var out []string
	each(h, func(s source) bool { return !s.test && !under(s.room, []string{"e2e/..."}) }, func(s source, f *ast.FuncDecl) {
		imports := importsOf(s)
		body := s.text[h.set.Position(f.Pos()).Offset:h.set.Position(f.End()).Offset]
		plain := strings.Contains(body, "SetMultipathTCP(false)") || strings.Contains(body, `"unix"`) && !strings.Contains(body, `"tcp`)
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				pkg, name, ok := named(imports, n.Fun)
				if !ok || pkg != "net" || !slices.Contains([]string{"Listen", "ListenTCP", "Dial", "DialTCP", "DialTimeout"}, name) || len(n.Args) == 0 {
					break
				}
				if network, ok := literal(n.Args[0]); !ok || strings.HasPrefix(network, "tcp") {
					out = append(out, h.at(n, "net.%s opens MPTCP sockets; use a net.ListenConfig or net.Dialer with SetMultipathTCP(false)", name))
				}
			case *ast.SelectorExpr:
				if pkg, name, ok := named(imports, n); ok && pkg == "net" && (name == "ListenConfig" || name == "Dialer") && !plain {
					out = append(out, h.at(n, "this net.%s lacks SetMultipathTCP(false)", name))
				}
			}
			return true
		})
	})
	return out
}
