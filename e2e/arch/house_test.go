package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// house is the source of the module, parsed.
type house struct {
	set     *token.FileSet
	sources []source
	files   map[string]string // every text file that rules look at, by slash path from the root; Go files included
}

// source is one Go file.
type source struct {
	path string // slash path from the root
	room string // its folder
	test bool
	file *ast.File
	text string
}

// rule looks at the house and returns its violations, one line each.
type rule struct {
	name  string
	check func(h *house) []string
}

func rules() []rule {
	return slices.Concat(importRules, confinementRules, purityRules, sizeRules, wordRules, logRules, moduleRules)
}

func TestHouse(t *testing.T) {
	h := open(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range r.check(h) {
				t.Error(v)
			}
		})
	}
}

// root is the module's root, seen from this package.
const root = "../.."

// looked are the endings of files, beside Go's, that rules look at.
var looked = []string{".go", ".md", ".mod", ".js", ".cjs", ".mjs", ".service", ".yml", ".yaml", ".sh"}

func open(t *testing.T) *house {
	t.Helper()
	h := &house{set: token.NewFileSet(), files: make(map[string]string)}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if slices.Contains([]string{".git", "bin", "node_modules", "testdata"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains(looked, path.Ext(rel)) && path.Dir(rel) != "." {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return h.add(rel, string(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(h.sources) == 0 {
		t.Fatal("no source found")
	}
	return h
}

func (h *house) add(rel, text string) error {
	h.files[rel] = text
	if path.Ext(rel) != ".go" {
		return nil
	}
	f, err := parser.ParseFile(h.set, rel, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	h.sources = append(h.sources, source{path: rel, room: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), file: f, text: text})
	return nil
}

// at is a violation at a place of the source.
func (h *house) at(n ast.Node, format string, args ...any) string {
	p := h.set.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// rooms are the folders that hold Go files, sorted.
func (h *house) rooms() []string {
	var out []string
	for _, s := range h.sources {
		out = append(out, s.room)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// each calls f for every node of type N in the sources that want accepts.
func each[N ast.Node](h *house, want func(source) bool, f func(s source, n N)) {
	for _, s := range h.sources {
		if !want(s) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if m, ok := n.(N); ok {
				f(s, m)
			}
			return true
		})
	}
}

func code(s source) bool { return !s.test }

func all(source) bool { return true }

// importsOf are the import paths of a file by the name they have in it.
func importsOf(s source) map[string]string {
	out := make(map[string]string)
	for _, i := range s.file.Imports {
		p := pathOf(i)
		name := path.Base(p)
		if v := strings.TrimLeft(name, "v"); v != name && strings.Trim(v, "0123456789") == "" {
			name = path.Base(path.Dir(p)) // .../rand/v2 is rand
		}
		name = strings.TrimPrefix(name, "go-") // go-hclog is hclog
		if i.Name != nil {
			name = i.Name.Name
		}
		out[name] = p
	}
	return out
}

func pathOf(i *ast.ImportSpec) string {
	p, err := strconv.Unquote(i.Path.Value)
	if err != nil {
		return i.Path.Value
	}
	return p
}

// named is the import path and the name of a selector such as os.Exit; ok is false when it selects from a value.
func named(imports map[string]string, e ast.Expr) (pkg, name string, ok bool) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	pkg, ok = imports[id.Name]
	return pkg, sel.Sel.Name, ok
}

// literal is the value of a string constant that stands in the source as one, or as a sum of such.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		v, err := strconv.Unquote(e.Value)
		return v, err == nil
	case *ast.BinaryExpr:
		x, xok := literal(e.X)
		y, yok := literal(e.Y)
		return x + y, xok && yok && e.Op == token.ADD
	}
	return "", false
}

// under reports whether a room is one of the given, or below one that ends in "/...".
func under(room string, places []string) bool {
	for _, p := range places {
		base, deep := strings.CutSuffix(p, "/...")
		if room == base || deep && strings.HasPrefix(room, base+"/") {
			return true
		}
	}
	return false
}
