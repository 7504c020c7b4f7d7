package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

const maxFileBytes = 1 << 20

// file applies the settings file at path; how names the flag or variable that asked for it.
func (r *resolver) file(path, how string) {
	text, err := readFile(path)
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", how, err))
		return
	}
	if isBlank(text) {
		return
	}
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: not valid YAML or JSON: %w", path, err))
		return
	}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind != yaml.MappingNode {
		r.problems = append(r.problems, fmt.Errorf("%s: must hold lines of the form key: value", path))
		return
	}
	r.entries(path, root)
}

func (r *resolver) entries(path string, root *yaml.Node) {
	known := map[string]option{}
	var keys []string
	for _, o := range options() {
		if o.name != "config" {
			known[o.key()] = o
			keys = append(keys, o.key())
		}
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		key := strings.ReplaceAll(k.Value, "-", "_")
		place := fmt.Sprintf("%s:%d: %s", path, k.Line, k.Value)
		o, ok := known[key]
		if line, twice := seen[key]; ok && twice {
			r.problems = append(r.problems, fmt.Errorf("%s: is given on line %d already", place, line))
			continue
		}
		seen[key] = k.Line
		if !ok {
			r.problems = append(r.problems, unknownKey(place, key, keys))
			continue
		}
		values, err := fileValues(v, o)
		if err != nil {
			r.problems = append(r.problems, fmt.Errorf("%s: %w", place, err))
			continue
		}
		if len(values) > 0 {
			r.set(o, place, values)
		}
	}
}

func unknownKey(place, key string, keys []string) error {
	switch near := Nearest(key, keys); {
	case key == "key":
		return fmt.Errorf("%s: the key itself does not belong into this file; name its file with key_file", place)
	case key == "token":
		return fmt.Errorf("%s: the token itself does not belong into this file; name its file with token_file", place)
	case key == "config":
		return fmt.Errorf("%s: a settings file names no other", place)
	case near != "":
		return fmt.Errorf("%s: there is no such key; did you mean %s?", place, near)
	default:
		return fmt.Errorf("%s: there is no such key; there are %s", place, strings.Join(keys, ", "))
	}
}

// fileValues turns a value of the file into what the same setting would be on the command line.
func fileValues(v *yaml.Node, o option) ([]string, error) {
	many := o.name == "join" || o.name == "tag"
	switch {
	case v.Kind == yaml.ScalarNode && (v.Tag == "!!null" || v.Value == ""):
		return nil, nil
	case v.Kind == yaml.ScalarNode:
		return []string{v.Value}, nil
	case v.Kind == yaml.SequenceNode && many:
		var out []string
		for _, e := range v.Content {
			if e.Kind != yaml.ScalarNode {
				return nil, errors.New("the list must hold plain words")
			}
			out = append(out, e.Value)
		}
		return out, nil
	case v.Kind == yaml.MappingNode && o.name == "tag":
		var out []string
		for i := 0; i+1 < len(v.Content); i += 2 {
			if v.Content[i+1].Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("the value of %q must be a plain word", v.Content[i].Value)
			}
			out = append(out, v.Content[i].Value+"="+v.Content[i+1].Value)
		}
		return out, nil
	default:
		return nil, errors.New("must be one plain value")
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the settings file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the settings file: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s is larger than 1 MiB; that is no settings file", path)
	}
	return text, nil
}

// isBlank reports whether the file holds nothing but comments.
func isBlank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}
