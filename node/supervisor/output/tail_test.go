package output

import (
	"strings"
	"testing"
)

func TestHeadline(t *testing.T) {
	for _, c := range []struct {
		tail []string
		want string
	}{
		{nil, ""},
		{[]string{"", "  ", "hello"}, "hello"},
		{[]string{"/app/server.js:3", "  throw new Error('x')", "  ^", "", "Error: no database", "    at Object.<anonymous>", "Node.js v20.20.2"}, "Error: no database"},
		{[]string{"Traceback (most recent call last):", "ModuleNotFoundError: No module named 'x'"}, "ModuleNotFoundError: No module named 'x'"},
		{[]string{"/app/x.js:1", "throw 1", "^", "1", "(Use `node --trace-uncaught ...` to show where the exception was thrown)", "Node.js v20.20.2"}, "1"},
		{[]string{"loading", "fatal error: out of luck", "more"}, "fatal error: out of luck"},
		{[]string{"one", "two", "    at f (x.js:1)", "^^^^"}, "two"},
		{[]string{strings.Repeat("é", 300)}, strings.Repeat("é", 100)},
		{[]string{"a" + strings.Repeat("é", 300)}, "a" + strings.Repeat("é", 99)},
	} {
		if got := Headline(c.tail); got != c.want {
			t.Errorf("headline of %q: %q, want %q", c.tail, got, c.want)
		}
	}
}
