package appfile

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// yamlPlace finds the line in a message of the library.
var yamlPlace = regexp.MustCompile(`^.* (?:L|line )(\d+)[^:]*: `)

// parseYAML reads one YAML document. Anchors, aliases and merge keys are resolved, within the bounds on what is read.
func parseYAML(source []byte) (value, error) {
	var doc yaml.Node
	if err := yaml.Load(source, &doc); err != nil {
		message := strings.TrimPrefix(err.Error(), "yaml: ")
		line := 0
		if at := yamlPlace.FindStringSubmatch(message); at != nil {
			line, _ = strconv.Atoi(at[1])
			message = strings.Replace(message, at[0], "", 1)
		}
		return value{}, &syntaxError{line, errors.New(strings.Join(strings.Fields(message), " "))}
	}
	w := yamlWalker{}
	v, err := w.value(&doc, 0)
	if err != nil {
		return value{}, &syntaxError{w.line, err}
	}
	return v, nil
}

type yamlWalker struct {
	nodes int
	line  int
}

func (w *yamlWalker) value(n *yaml.Node, depth int) (value, error) {
	if w.nodes++; w.nodes > maxNodes { // also what an alias stands for counts, each time
		return value{}, errMany
	}
	if depth > maxDepth {
		return value{}, errDeep
	}
	if n.Line > 0 {
		w.line = n.Line
	}
	v := value{line: n.Line}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) != 1 {
			return v, errors.New("it must hold one document")
		}
		return w.value(n.Content[0], depth)
	case yaml.AliasNode:
		return w.value(n.Alias, depth+1)
	case yaml.ScalarNode:
		return scalar(n), nil
	case yaml.SequenceNode:
		v.kind = list
		for _, c := range n.Content {
			e, err := w.value(c, depth+1)
			if err != nil {
				return v, err
			}
			v.list = append(v.list, e)
		}
		return v, nil
	case yaml.MappingNode:
		v.kind = object
		return v, w.mapping(&v, n, depth)
	}
	return v, nil // nothing at all
}

func (w *yamlWalker) mapping(v *value, n *yaml.Node, depth int) error {
	seen := map[string]int{}
	var merged []value
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		w.line = n.Content[i].Line
		if k.Kind != yaml.ScalarNode {
			return errors.New("a key must be a plain word")
		}
		e := entry{key: k.Value, line: n.Content[i].Line}
		var err error
		if e.value, err = w.value(n.Content[i+1], depth+1); err != nil {
			return err
		}
		w.line = e.line
		if k.Tag == "!!merge" || k.Value == "<<" && k.Style == 0 {
			merged = append(merged, e.value)
			continue
		}
		if err := v.add(e, seen); err != nil {
			return err
		}
	}
	for _, m := range merged {
		if err := w.merge(v, m, seen); err != nil {
			return err
		}
	}
	return nil
}

// merge adds the keys of m, an object or a list of such, that v does not have itself.
func (w *yamlWalker) merge(v *value, m value, seen map[string]int) error {
	switch m.kind {
	case object:
		for _, e := range m.keys {
			if _, own := seen[e.key]; !own {
				seen[e.key] = e.line
				v.keys = append(v.keys, e)
			}
		}
		return nil
	case list:
		for _, e := range m.list {
			if e.kind != object {
				return errors.New("<< takes objects")
			}
			if err := w.merge(v, e, seen); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("<< takes an object, and not %s", m.kind)
}

func scalar(n *yaml.Node) value {
	v := value{kind: text, line: n.Line, word: n.Value}
	switch n.ShortTag() {
	case "!!null":
		v.kind, v.word = null, ""
	case "!!bool":
		v.kind, v.word = boolean, strings.ToLower(n.Value)
	case "!!int", "!!float":
		v.kind = number
	}
	return v
}
