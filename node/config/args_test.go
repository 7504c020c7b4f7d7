package config

import (
	"errors"
	"flag"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgs(t *testing.T) {
	type result struct {
		Args, After []string
		Name        string
		N           int
		JSON        bool
	}
	for _, c := range []struct {
		name string
		args []string
		want result
		err  string
	}{
		{name: "none", want: result{}},
		{name: "before", args: []string{"-json", "-n", "x", "a", "b"}, want: result{Args: []string{"a", "b"}, Name: "x", JSON: true}},
		{name: "after", args: []string{"a", "-n=x", "b", "--json"}, want: result{Args: []string{"a", "b"}, Name: "x", JSON: true}},
		{name: "bool takes no value", args: []string{"-json", "true"}, want: result{Args: []string{"true"}, JSON: true}},
		{name: "bool by sign", args: []string{"-json=false"}, want: result{}},
		{name: "end", args: []string{"a", "--", "-n", "x", "--"}, want: result{Args: []string{"a"}, After: []string{"-n", "x", "--"}}},
		{name: "empty end", args: []string{"a", "--"}, want: result{Args: []string{"a"}, After: []string{}}},
		{name: "negative number", args: []string{"api", "-2"}, want: result{Args: []string{"api", "-2"}}},
		{name: "plus", args: []string{"api", "+2"}, want: result{Args: []string{"api", "+2"}}},
		{name: "value that looks like a flag", args: []string{"-n", "-x"}, want: result{Name: "-x"}},
		{name: "dash alone", args: []string{"-"}, want: result{Args: []string{"-"}}},
		{name: "value lost", args: []string{"-n", "--", "x"}, err: "-n needs a value"},
		{name: "value missing", args: []string{"a", "-n"}, err: "-n needs a value"},
		{name: "bad value", args: []string{"-count", "x"}, err: "-count: parse error"},
		{name: "unknown", args: []string{"-jsno"}, err: "there is no flag -jsno; did you mean -json?"},
		{name: "unknown with value", args: []string{"--cuont=3"}, err: "there is no flag -cuont; did you mean -count?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got result
			fs := flag.NewFlagSet("", flag.ContinueOnError)
			fs.StringVar(&got.Name, "n", "", "")
			fs.IntVar(&got.N, "count", 0, "")
			fs.BoolVar(&got.JSON, "json", false, "")
			var err error
			got.Args, got.After, err = ParseArgs(fs, c.args)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Fatalf("got %v, want %s", err, c.err)
				}
				return
			}
			if d := cmp.Diff(c.want, got); d != "" || err != nil {
				t.Errorf("%v\n%s", err, d)
			}
		})
	}
	if _, _, err := ParseArgs(flag.NewFlagSet("", flag.ContinueOnError), []string{"a", "-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("help: %v", err)
	}
}

func TestNearest(t *testing.T) {
	verbs := []string{"run", "start", "list", "status", "describe", "logs", "reload", "restart", "scale", "stop", "delete", "version"}
	for _, c := range []struct{ word, want string }{
		{"strat", "start"}, {"lsit", "list"}, {"desc", "describe"}, {"relaod", "reload"}, {"STOP", "stop"}, {"statsu", "status"},
		{"log", "logs"}, {"versoin", "version"}, {"frobnicate", ""}, {"x", ""}, {"", ""}, {"del", "delete"}, {"rum", "run"},
	} {
		if got := Nearest(c.word, verbs); got != c.want {
			t.Errorf("%q: got %q, want %q", c.word, got, c.want)
		}
	}
	if got := Nearest("aip", []string{"web", "api"}); got != "api" {
		t.Errorf("got %q", got)
	}
}

func TestSlips(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := slips(c.a, c.b); got != c.want {
			t.Errorf("%q %q: got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
