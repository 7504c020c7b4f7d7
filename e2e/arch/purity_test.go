package arch

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

var purityRules = []rule{{"purity", checkPurity}}

// pureRooms decide and do nothing else: time and entropy are handed in, so that tests drive exactly what serves.
var pureRooms = []string{"balancer", "balancer/sim", "store/spec", "store/fsm"}

// pureFiles are pure in rooms that are not.
var pureFiles = []string{"plan.go", "voters.go", "inputs.go", "turns.go"}

// impureImports have no place in pure code; "..." for a path and all below it.
var impureImports = confined{what: []string{"net...", "os...", "syscall", "crypto/rand", "io/fs", "os/...", "runtime...", sysUnix, hclog, armon}}

// pureParts are what pure code may use of packages that are not pure as a whole.
var pureParts = map[string][]string{
	"net":           {"SplitHostPort", "JoinHostPort", "ParseIP", "IP"}, // they only read text
	"net/netip":     nil,                                                // nil = all: values
	"time":          {"Duration", "Time", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "UTC", "Unix", "Date", "ParseDuration"},
	"math/rand":     {"New", "Rand", "NewSource"},
	"math/rand/v2":  {"New", "Rand", "NewPCG", "PCG", "NewChaCha8", "ChaCha8"},
	"path/filepath": {"IsAbs", "Clean", "Join", "Base", "Dir", "Ext"},
}

func pure(s source) bool {
	return !s.test && (slices.Contains(pureRooms, s.room) || slices.Contains(pureFiles, path.Base(s.path)) && !strings.HasPrefix(s.path, "e2e/"))
}

func checkPurity(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if !pure(s) {
			continue
		}
		imports := importsOf(s)
		for _, i := range s.file.Imports {
			if _, partly := pureParts[pathOf(i)]; !partly && impureImports.names(pathOf(i)) {
				out = append(out, h.at(i, "pure code may not import %s", pathOf(i)))
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, h.at(n, "pure code starts no goroutine"))
			case *ast.SelectorExpr:
				pkg, name, ok := named(imports, n)
				if parts, partly := pureParts[pkg]; ok && partly && parts != nil && !slices.Contains(parts, name) {
					out = append(out, h.at(n, "pure code may not use %s.%s", pkg, name))
				}
			}
			return true
		})
	}
	return out
}
