package arch

import (
	"go/ast"
	"slices"
	"strings"
	"unicode"
)

var logRules = []rule{{"logs", checkLogs}, {"metric names", checkMetricNames}}

// logKeys are the words that stand before values in logs.
var logKeys = strings.Fields("node peer app worker addr conn index term err dur path signal code count reason release version what")

// logMethods are the methods of a logger, and of the wrappers that pass a message on, with the place of the message in their arguments.
var logMethods = map[string]int{"Trace": 0, "Debug": 0, "Info": 0, "Warn": 0, "Error": 0, "warn": 1}

// logWrappers pass on a message they are given: the calls of the wrappers are checked in their place.
var logWrappers = map[string]string{
	"balancer/proxy/grumble.go: warn": "lets one line a second through",
}

func checkLogs(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if s.test || strings.HasPrefix(s.path, "e2e/") {
			continue
		}
		imports := importsOf(s)
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && logWrappers[s.path+": "+f.Name.Name] != "" {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				c, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := c.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if _, _, pkg := named(imports, sel); pkg {
					return true
				}
				if at, ok := logMethods[sel.Sel.Name]; ok && len(c.Args) > at {
					out = append(out, h.checkLog(c, c.Args[at:])...)
				}
				return true
			})
		}
	}
	return out
}

// checkLog looks at a message and the pairs behind it.
func (h *house) checkLog(c *ast.CallExpr, args []ast.Expr) []string {
	msg, ok := literal(args[0])
	if !ok {
		return []string{h.at(c, "the message of a log line is a constant; what varies stands in pairs behind it")}
	}
	var out []string
	if first := []rune(msg); len(first) == 0 || unicode.IsUpper(first[0]) {
		out = append(out, h.at(c, "log messages begin in lower case: %q", msg))
	}
	if strings.HasSuffix(msg, ".") || strings.Contains(msg, "\n") {
		out = append(out, h.at(c, "log messages are one line without a full stop: %q", msg))
	}
	pairs := args[1:]
	if len(pairs)%2 != 0 || c.Ellipsis.IsValid() {
		return append(out, h.at(c, "a key without a value, or pairs that cannot be seen, behind %q", msg))
	}
	for i := 0; i < len(pairs); i += 2 {
		if key, ok := literal(pairs[i]); !ok || !slices.Contains(logKeys, key) {
			out = append(out, h.at(pairs[i], "%q is not one of the keys %v", key, logKeys))
		}
	}
	return out
}

// emitters are the methods that a metric is emitted with.
var emitters = []string{"IncrCounter", "IncrCounterWithLabels", "SetGauge", "SetGaugeWithLabels", "AddSample", "AddSampleWithLabels", "MeasureSince", "MeasureSinceWithLabels"}

// checkMetricNames finds names of metrics that do not stand in the room's metrics.go.
func checkMetricNames(h *house) []string {
	var out []string
	each(h, code, func(s source, c *ast.CallExpr) {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains(emitters, sel.Sel.Name) || len(c.Args) == 0 || strings.HasSuffix(s.path, "/metrics.go") {
			return
		}
		if _, inPlace := c.Args[0].(*ast.CompositeLit); inPlace {
			out = append(out, h.at(c, "the name of this metric belongs into %s/metrics.go", s.room))
		}
	})
	return out
}
