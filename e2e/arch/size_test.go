package arch

import (
	"fmt"
	"go/ast"
	"strings"
)

var sizeRules = []rule{{"sizes", checkSizes}}

// Limits (counts).
const (
	codeLines   = 400 // lines of a file
	testLines   = 600
	caseLines   = 100 // lines of a function in a test: its table of cases stands in it
	funcLines   = 60  // lines from func to the closing brace
	structSize  = 15  // fields
	methodCount = 6   // of an interface
	paramCount  = 5
)

// oversized are the exceptions: "file: name" and why it is really better that way.
var oversized = map[string]string{
	"node/config/settings.go: Settings": "one field for each setting of the operator; nesting would hide which flag fills it",
}

func checkSizes(h *house) []string {
	var out []string
	needed := make(map[string]bool)
	over := func(n ast.Node, name, format string, args ...any) {
		key := h.set.Position(n.Pos()).Filename + ": " + name
		if needed[key] = true; oversized[key] == "" {
			out = append(out, h.at(n, "%s: %s", name, fmt.Sprintf(format, args...)))
		}
	}
	for _, s := range h.sources {
		limit, inFunc := codeLines, funcLines
		if s.test {
			limit, inFunc = testLines, caseLines
		}
		if k := strings.Count(s.text, "\n"); k > limit {
			over(s.file, "file", "%d lines, at most %d", k, limit)
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				if k := h.lines(f); k > inFunc {
					over(f, f.Name.Name, "%d lines, at most %d", k, inFunc)
				}
				if k := count(f.Type.Params); k > paramCount {
					over(f, f.Name.Name, "%d parameters, at most %d", k, paramCount)
				}
			}
		}
	}
	each(h, all, func(_ source, t *ast.TypeSpec) {
		switch v := t.Type.(type) {
		case *ast.StructType:
			if k := count(v.Fields); k > structSize {
				over(t, t.Name.Name, "%d fields, at most %d", k, structSize)
			}
		case *ast.InterfaceType:
			if k := count(v.Methods); k > methodCount {
				over(t, t.Name.Name, "%d methods, at most %d", k, methodCount)
			}
		}
	})
	for key := range oversized {
		if !needed[key] {
			out = append(out, "table of exceptions: "+key+" is not too large any more")
		}
	}
	return out
}

func (h *house) lines(n ast.Node) int {
	return h.set.Position(n.End()).Line - h.set.Position(n.Pos()).Line + 1
}

// count is the number of names in a list of fields, parameters or methods; what has no name counts once.
func count(l *ast.FieldList) int {
	k := 0
	for _, f := range l.List {
		k += max(1, len(f.Names))
	}
	return k
}
