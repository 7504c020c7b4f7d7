package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

var wordRules = []rule{{"package docs", checkPackageDocs}, {"exported names", checkExported}, {"init and globals", checkGlobals},
	{"drawer names", checkDrawers}, {"top level", checkTopLevel}, {"design pages", checkDesignPages}, {"sleep in tests", checkSleep},
	{"marks", checkMarks}, {"error texts", checkErrorTexts}}

var fileName = regexp.MustCompile(`\b[A-Za-z0-9_]+\.(go|md|cjs|js)\b`)

// checkPackageDocs wants a doc.go in every room, with the concurrency rule and the files in reading order, and only files that exist.
func checkPackageDocs(h *house) []string {
	var out []string
	for _, room := range h.rooms() {
		i := slices.IndexFunc(h.sources, func(s source) bool { return s.path == room+"/doc.go" })
		if i < 0 {
			out = append(out, room+": there is no doc.go")
			continue
		}
		s := h.sources[i]
		doc := s.file.Doc.Text()
		begin := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			begin = "Command " + path.Base(room) + " "
		}
		if !strings.HasPrefix(doc, begin) {
			out = append(out, h.at(s.file, "the package comment does not begin with %q", strings.TrimSpace(begin)))
		}
		if !strings.Contains(doc, "Concurrency: ") && h.codeFiles(room) > 1 {
			out = append(out, h.at(s.file, "the package comment has no line on concurrency"))
		}
		if !strings.Contains(doc, "eading order") && !strings.Contains(doc, "\nRead ") && h.codeFiles(room) > 2 {
			out = append(out, h.at(s.file, "the package comment does not say in which order to read the files"))
		}
		for _, name := range fileName.FindAllString(doc, -1) {
			if _, ok := h.files[room+"/"+name]; !ok && !slices.Contains([]string{"Node.js", "go.mod"}, name) {
				out = append(out, h.at(s.file, "the package comment names %s, which does not exist", name))
			}
		}
	}
	for _, s := range h.sources {
		if s.file.Doc != nil && path.Base(s.path) != "doc.go" {
			out = append(out, h.at(s.file, "the package comment belongs into doc.go"))
		}
	}
	return out
}

// codeFiles is the number of a room's files that are no tests (count).
func (h *house) codeFiles(room string) int {
	k := 0
	for _, s := range h.sources {
		if s.room == room && !s.test {
			k++
		}
	}
	return k
}

// checkExported wants a comment that begins with the name on everything exported outside main programs and tests.
func checkExported(h *house) []string {
	var out []string
	want := func(n ast.Node, name string, docs ...*ast.CommentGroup) {
		for _, d := range docs {
			if words := strings.Fields(d.Text()); len(words) > 0 && (strings.TrimRight(words[0], ":,.") == name || slices.Contains(words[:min(4, len(words))], name)) {
				return
			}
		}
		out = append(out, h.at(n, "the comment on %s does not begin with its name", name))
	}
	for _, s := range h.sources {
		if s.test || s.file.Name.Name == "main" {
			continue
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && !plumbing(d) {
					want(d, d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, sp := range d.Specs {
					switch sp := sp.(type) {
					case *ast.TypeSpec:
						if sp.Name.IsExported() {
							want(sp, sp.Name.Name, sp.Doc, d.Doc)
						}
					case *ast.ValueSpec:
						for _, name := range sp.Names {
							if name.IsExported() && !(d.Doc != nil && d.Lparen.IsValid()) { // a group has one comment
								want(name, name.Name, sp.Doc, sp.Comment, d.Doc)
							}
						}
					}
				}
			}
		}
	}
	return out
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	id, ok := t.(*ast.Ident)
	return !ok || id.IsExported()
}

// plumbing are methods whose meaning the language fixes.
func plumbing(d *ast.FuncDecl) bool {
	return d.Recv != nil && slices.Contains([]string{"Error", "Unwrap", "Is", "String", "Format", "GoString"}, d.Name.Name)
}

// globals are the package variables that are no errors, assertions or constants in all but name: "file: name" and why there is one.
var globals = map[string]string{
	"balancer/proxy/forward.go: noRemote":         "the zero value of a type that cannot be a constant",
	"node/supervisor/nodeipc/preload.go: preload": "filled by the compiler from preload.cjs",
	"node/telemetry/metrics.go: bridgeOnce":       "the libraries have one global instance; it is set once",
}

// constant reports whether a variable is a constant in all but name: an expression compiled once, or the name of a metric.
func constant(s source, v *ast.ValueSpec) bool {
	if strings.HasSuffix(s.path, "/metrics.go") && len(v.Values) == 1 {
		_, table := v.Values[0].(*ast.CompositeLit)
		return table
	}
	if len(v.Values) != 1 {
		return false
	}
	c, ok := v.Values[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	pkg, name, ok := named(importsOf(s), c.Fun)
	return ok && (pkg == "regexp" && name == "MustCompile" || pkg == "errors" && name == "New")
}

// checkGlobals refuses init and package variables that may change.
func checkGlobals(h *house) []string {
	var out []string
	used := make(map[string]bool)
	for _, s := range h.sources {
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					out = append(out, h.at(d, "there is no init here: main says what happens at the start"))
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR || s.test || under(s.room, []string{"e2e/..."}) {
					continue
				}
				for _, sp := range d.Specs {
					for _, name := range sp.(*ast.ValueSpec).Names {
						key := s.path + ": " + name.Name
						used[key] = true
						if name.Name != "_" && !constant(s, sp.(*ast.ValueSpec)) && globals[key] == "" {
							out = append(out, h.at(name, "%s is state of the whole process; hand it in, or make it a constant or a function", name.Name))
						}
					}
				}
			}
		}
	}
	for key := range globals {
		if !used[key] {
			out = append(out, "table of globals: there is no "+key+" any more")
		}
	}
	return out
}

var drawers = strings.Fields("util utils common helper helpers misc base lib types shared pkg internal tools stuff general")

// checkDrawers refuses names that everything fits into.
func checkDrawers(h *house) []string {
	var out []string
	bad := func(name string) bool {
		return slices.Contains(drawers, name) || len(name) > 5 && (strings.HasSuffix(name, "util") || strings.HasSuffix(name, "utils"))
	}
	for _, s := range h.sources {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.path), ".go"), "_test")
		for _, part := range append(strings.Split(s.room, "/"), s.file.Name.Name, stem) {
			if bad(part) {
				out = append(out, fmt.Sprintf("%s: %q says nothing about what is inside", s.path, part))
			}
		}
	}
	return out
}

// top is what may lie at the top of the house.
var top = strings.Fields("cmd node mesh balancer store deploy e2e go.mod go.sum README.md .ci Makefile CHANGELOG.md .git .gitignore .golangci.yml LICENSE")

func checkTopLevel(h *house) []string {
	var out []string
	for name := range h.files {
		first, _, _ := strings.Cut(name, "/")
		if !slices.Contains(top, first) {
			out = append(out, name+": does not belong to the top of the house")
		}
		if first == "deploy" && path.Ext(name) == ".go" {
			out = append(out, name+": deploy holds files, no Go")
		}
	}
	slices.Sort(out)
	return out
}

// pillars have a DESIGN.md each, of a length that is read.
var pillars = []string{"mesh", "balancer", "store", "node"}

const designLines = 250

func checkDesignPages(h *house) []string {
	var out []string
	for _, p := range pillars {
		text, ok := h.files[p+"/DESIGN.md"]
		if !ok {
			out = append(out, p+"/DESIGN.md is missing")
		}
		if k := strings.Count(text, "\n"); k > designLines {
			out = append(out, fmt.Sprintf("%s/DESIGN.md: %d lines, at most %d", p, k, designLines))
		}
	}
	return out
}

// bubbled are files of tests whose functions run in bubbles that other files open.
var bubbled = map[string]string{
	"store/cluster_test.go": "its stores live in the bubbles of store_test.go and trouble_test.go",
}

// checkSleep refuses waiting by the clock in tests outside e2e. In a bubble of testing/synctest the clock is the test's own.
func checkSleep(h *house) []string {
	var out []string
	for _, s := range h.sources {
		if !s.test || under(s.room, []string{"e2e/..."}) || bubbled[s.path] != "" || slices.ContainsFunc(s.file.Imports, func(i *ast.ImportSpec) bool { return pathOf(i) == "testing/synctest" }) {
			continue
		}
		imports := importsOf(s)
		ast.Inspect(s.file, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				if pkg, name, ok := named(imports, e); ok && pkg == "time" && name == "Sleep" {
					out = append(out, h.at(n, "tests wait for events, or sleep in a synctest bubble"))
				}
			}
			return true
		})
	}
	return out
}

// marks are put together here, so that this file holds none.
var marks = []string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}

var word = regexp.MustCompile(`[A-Z]+`)

func checkMarks(h *house) []string {
	var out []string
	for name, text := range h.files {
		if name == "go.sum" { // hashes spell anything
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			for _, w := range word.FindAllString(line, -1) {
				if slices.Contains(marks, w) {
					out = append(out, fmt.Sprintf("%s:%d: %s: do it, or write it into DESIGN.md", name, i+1, w))
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// checkErrorTexts wants errors that read well behind the operation that wraps them.
func checkErrorTexts(h *house) []string {
	var out []string
	each(h, code, func(s source, c *ast.CallExpr) {
		pkg, name, ok := named(importsOf(s), c.Fun)
		if !ok || pkg+"."+name != "errors.New" && pkg+"."+name != "fmt.Errorf" || len(c.Args) == 0 {
			return
		}
		text, _ := literal(c.Args[0])
		if strings.HasPrefix(strings.ToLower(text), "failed to ") || strings.HasPrefix(text, "error ") || strings.HasSuffix(text, ".") || strings.HasSuffix(text, "\n") {
			out = append(out, h.at(c, "errors say the operation in plain words, with no full stop: %q", text))
		}
	})
	return out
}
