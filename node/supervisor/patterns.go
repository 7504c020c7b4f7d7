package supervisor

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// patterns say which paths are of no interest, in the form of ignore lists as people write them: a name ("node_modules"), a name with stars
// ("*.log"), a path below the app's folder or what is watched ("./tmp", "logs/*.txt", "src/**/*.tmp"), or an absolute path.
type patterns struct {
	dir    string   // the app's folder
	roots  []string // what is watched
	names  []*regexp.Regexp
	paths  []*regexp.Regexp
	hidden bool // also names that begin with a dot: the app says nothing of its own
}

// alwaysIgnored are full of files that change for other reasons.
func alwaysIgnored() []string { return []string{"node_modules", ".git"} }

func newPatterns(dir string, roots, list []string) *patterns {
	p := &patterns{dir: dir, roots: roots, hidden: len(list) == 0}
	for _, text := range slices.Concat(alwaysIgnored(), list) {
		text = strings.TrimPrefix(strings.TrimSuffix(text, "/**"), "**/")
		if text = filepath.Clean(text); text == "." || text == "/" {
			continue // all: that would be no watch
		}
		re, err := regexp.Compile("^" + glob(text) + "$")
		switch {
		case err != nil: // a class that is not closed fits nothing
		case strings.Contains(text, "/"):
			p.paths = append(p.paths, re)
		default:
			p.names = append(p.names, re)
		}
	}
	return p
}

// glob is a pattern as a regular expression: "**" stands for any folders, "*" and "?" for letters of one name, {a,b} for one of these, and a class
// for itself.
func glob(text string) string {
	var b strings.Builder
	for i, braces := 0, 0; i < len(text); i++ {
		switch c := text[i]; {
		case strings.HasPrefix(text[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(text[i:], "**"):
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '{':
			b.WriteString("(?:")
			braces++
		case c == '}' && braces > 0:
			b.WriteString(")")
			braces--
		case c == ',' && braces > 0:
			b.WriteString("|")
		case c == '[' || c == ']':
			b.WriteByte(c)
		case c == '!' && i > 0 && text[i-1] == '[':
			b.WriteByte('^')
		case c == '-':
			b.WriteByte(c)
		default:
			b.WriteString(regexp.QuoteMeta(text[i : i+1]))
		}
	}
	return b.String()
}

// fit reports whether a path, or a folder that it is in, fits a pattern.
func (p *patterns) fit(path string) bool {
	candidates := []string{path}
	if rel := below(p.dir, path); rel != "" {
		candidates = append(candidates, rel)
	}
	for _, root := range p.roots {
		rel := below(root, path)
		if rel == "" {
			continue
		}
		candidates = append(candidates, rel)
		for name := range strings.SplitSeq(rel, "/") {
			if p.hidden && strings.HasPrefix(name, ".") || fits(p.names, name) {
				return true
			}
		}
	}
	for _, c := range candidates {
		for ; c != "." && c != "/"; c = filepath.Dir(c) {
			if fits(p.paths, c) {
				return true
			}
		}
	}
	return false
}

// below is a path relative to a folder that it is below, else empty.
func below(folder, path string) string {
	rel, err := filepath.Rel(folder, path)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return ""
	}
	return rel
}

func fits(list []*regexp.Regexp, text string) bool {
	return slices.ContainsFunc(list, func(re *regexp.Regexp) bool { return re.MatchString(text) })
}
