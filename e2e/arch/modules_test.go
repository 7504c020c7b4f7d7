package arch

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

var moduleRules = []rule{{"modules", checkModules}, {"versions", checkVersions}}

// modules are the direct dependencies, each with the reason that it is not written here.
var modules = map[string]string{
	"github.com/armon/go-metrics":         "metrics, as the owner asked",
	"github.com/cilium/ebpf":              "assembles and loads the program that chooses among sockets, without a compiler",
	"github.com/coreos/go-systemd/v22":    "systemd's protocol for readiness and watchdog",
	"github.com/fsnotify/fsnotify":        "which files have changed",
	"github.com/gofrs/flock":              "a lock that dies with its process",
	"github.com/anishathalye/porcupine":   "tests: whether a history could have happened one after the other",
	"github.com/google/go-cmp":            "tests: readable differences",
	"github.com/google/renameio/v2":       "files replaced whole, also over a power cut",
	"github.com/hashicorp/go-hclog":       "logs, in the form that raft writes",
	"github.com/hashicorp/go-metrics":     "where raft and memberlist emit; bridged into ours",
	"github.com/hashicorp/go-sockaddr":    "which of a server's addresses others reach",
	"github.com/hashicorp/memberlist":     "gossip",
	"github.com/hashicorp/raft":           "agreement",
	"github.com/hashicorp/raft-boltdb/v2": "raft's log on disk",
	"github.com/mdlayher/netlink":         "sock_diag: the state of sockets that workers hold",
	"github.com/pires/go-proxyproto":      "the two forms of PROXY protocol headers, with their odd corners",
	"github.com/prometheus/client_golang": "/metrics in the form that everybody scrapes",
	"github.com/netresearch/go-cron":      "patterns of times, over the changes of the clock",
	"go.etcd.io/bbolt":                    "looks at raft's log before it is opened for writing",
	"go.uber.org/goleak":                  "tests: no goroutine left behind",
	"go.yaml.in/yaml/v4":                  "the settings file and app files",
	"golang.org/x/sys":                    "system calls that syscall lacks",
}

// checkModules compares what go.mod requires directly, what is imported, and the list above.
func checkModules(h *house) []string {
	var out []string
	required := directly(h.files["go.mod"])
	imported := make(map[string]bool)
	for _, s := range h.sources {
		for _, i := range s.file.Imports {
			if p := pathOf(i); !standard(p) && !strings.HasPrefix(p, module+"/") {
				imported[owner(p, required)] = true
			}
		}
	}
	for _, m := range slices.Sorted(maps.Keys(required)) {
		switch direct := !required[m].indirect; {
		case direct && !imported[m]:
			out = append(out, "go.mod: nothing imports "+m)
		case direct && modules[m] == "":
			out = append(out, "go.mod: "+m+" is not in the list of dependencies with a reason")
		case !direct && imported[m]:
			out = append(out, "go.mod: "+m+" is imported directly, and marked indirect")
		}
	}
	for m := range modules {
		if !imported[m] {
			out = append(out, "list of dependencies: nothing imports "+m)
		}
	}
	slices.Sort(out)
	return out
}

type requirement struct {
	version  string
	indirect bool
}

// directly reads the require lines of go.mod.
func directly(text string) map[string]requirement {
	out := make(map[string]requirement)
	block := ""
	for line := range strings.Lines(text) {
		line, comment, _ := strings.Cut(strings.TrimSpace(line), "//")
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[1] == "(":
			block = f[0]
		case len(f) == 1 && f[0] == ")":
			block = ""
		case block == "require" && len(f) == 2:
			out[f[0]] = requirement{f[1], strings.TrimSpace(comment) == "indirect"}
		case len(f) == 3 && f[0] == "require":
			out[f[1]] = requirement{f[2], strings.TrimSpace(comment) == "indirect"}
		}
	}
	return out
}

// owner is the required module that a package belongs to.
func owner(pkg string, required map[string]requirement) string {
	best := ""
	for m := range required {
		if (pkg == m || strings.HasPrefix(pkg, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// oldest are the versions below which a dependency is not taken, and why.
var oldest = map[string]requirementReason{
	"github.com/hashicorp/memberlist": {"v0.7.0", "older ones unpack without bound"},
	"github.com/hashicorp/raft":       {"v1.8.0", "older ones lack security fixes"},
}

type requirementReason struct{ version, why string }

func checkVersions(h *house) []string {
	var out []string
	text := h.files["go.mod"]
	required := directly(text)
	for m, o := range oldest {
		if have := required[m].version; older(have, o.version) {
			out = append(out, fmt.Sprintf("go.mod: %s %s is older than %s: %s", m, have, o.version, o.why))
		}
	}
	if !strings.Contains(text, "exclude github.com/armon/go-metrics v0.7.0") {
		out = append(out, "go.mod: github.com/armon/go-metrics v0.7.0 must be excluded: it declares another path")
	}
	slices.Sort(out)
	return out
}

// older compares versions of the form v1.2.3 by number.
func older(a, b string) bool {
	x, y := numbers(a), numbers(b)
	return slices.Compare(x, y) < 0
}

func numbers(version string) []int {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var out []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			n = -1
		}
		out = append(out, n)
	}
	return out
}
