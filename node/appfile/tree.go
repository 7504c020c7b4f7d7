package appfile

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds on what is read (counts, but for maxBytes).
const (
	maxBytes = 1 << 20
	maxDepth = 64
	maxNodes = 100_000
)

// kind is the kind of a value.
type kind uint8

const (
	null kind = iota
	boolean
	number
	text
	list
	object
)

// String is the kind as an operator calls it.
func (k kind) String() string {
	return [...]string{"nothing", "true or false", "a number", "a text", "a list", "an object"}[k]
}

// value is one value of a file, whatever its format. Objects keep the order of their keys, as the file has them.
type value struct {
	kind kind
	line int    // 0 = the format has none
	word string // of text; of a number and a boolean as they were written
	list []value
	keys []entry
}

// entry is one key of an object.
type entry struct {
	key   string
	line  int
	value value
}

// get returns the value of a key of an object.
func (v value) get(key string) (value, bool) {
	for _, e := range v.keys {
		if e.key == key {
			return e.value, true
		}
	}
	return value{}, false
}

// add appends a key, and refuses one that is there already.
func (v *value) add(e entry, seen map[string]int) error {
	if line, twice := seen[e.key]; twice {
		return fmt.Errorf("%q is given on line %d already", clip(e.key), line)
	}
	seen[e.key] = e.line
	v.keys = append(v.keys, e)
	return nil
}

// syntaxError is a place where a file is not what its format wants.
type syntaxError struct {
	line int
	err  error
}

func (e *syntaxError) Error() string { return e.err.Error() }
func (e *syntaxError) Unwrap() error { return e.err }

var (
	errDeep = errors.New("objects and lists are nested too deeply")
	errMany = errors.New("more than 100,000 values")
)

// clip keeps a message readable whatever the file holds.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
