package appfile

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"a b": {"a", "b"}, "  a\t b\n": {"a", "b"}, `a 'b c' d`: {"a", "b c", "d"}, `--x="y z"`: {"--x=y z"}, `a\ b`: {"a b"}, `''`: {""},
		`"a\"b" "c\d"`: {`a"b`, `c\d`}, `'a\b'`: {`a\b`},
	} {
		got, err := Split(line)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v %s", line, err, d)
		}
	}
	for _, line := range []string{"", "  ", "'a", `"a`, `a\`} {
		if got, err := Split(line); err == nil {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func TestSeconds(t *testing.T) {
	for word, want := range map[string]float64{"3000": 3, "0": 0, "1.5s": 1.5, "10s": 10, "2m": 120, "1h": 3600, "1d": 86400, "100ms": 0.1, " 5 ": 0.005, "1h30m": 5400} {
		if got, err := Seconds(word); got != want || err != nil {
			t.Errorf("%s: %v %v", word, got, err)
		}
	}
	for _, word := range []string{"", "x", "-1", "-1s", "1x", "NaN", "Inf", "d", "1e400"} {
		if got, err := Seconds(word); err == nil {
			t.Errorf("%s: %v", word, got)
		}
	}
}

func TestBytesOf(t *testing.T) {
	for word, want := range map[string]uint64{"0": 0, "100": 100, "100B": 100, "1K": 1024, "1k": 1024, "150M": 150 << 20, "150MB": 150 << 20, "150MiB": 150 << 20, "1.5G": 3 << 29, "1 G": 1 << 30, "1T": 1 << 40} {
		if got, err := Bytes(word); got != want || err != nil {
			t.Errorf("%s: %v %v", word, got, err)
		}
	}
	for _, word := range []string{"", "x", "-1", "1X", "1iB", "1I", "M", "NaN", "1e30"} {
		if got, err := Bytes(word); err == nil {
			t.Errorf("%s: %v", word, got)
		}
	}
}

func TestJSONReader(t *testing.T) {
	for source, want := range map[string]string{
		`{"a":1}`: `{"a":1}`, "{a: 'x',}": `{"a":"x"}`, "[1,2,]": `[1,2]`, "// c\n[/* d */ true]": `[true]`, `"\u00e9\n\x41\ud83d\ude00"`: `"é\nA😀"`, `'it\'s'`: `"it's"`,
		"{$a_1: +2}": `{"$a_1":+2}`, "null": "null", "undefined": "null", "\ufeff[]": "[]", `"a\` + "\n" + `b"`: `"ab"`, `"\ud83d"`: `"` + "\ufffd" + `"`,
	} {
		v, err := parseJSON([]byte(source))
		if err != nil || v.json() != want {
			t.Errorf("%s: %s %v", source, v.json(), err)
		}
	}
	for _, source := range []string{"", "{", "[", "{a}", "{a:}", "{a:1 b:2}", "[1 2]", "'a", "\"a\n\"", "{,}", "[,]", "01", "1e", "yes", "/* x", "1 2", `"\u12"`, `"\xzz"`, "\xff", "{1a:", `"\`} {
		if v, err := parseJSON([]byte(source)); err == nil {
			t.Errorf("%q: %s", source, v.json())
		}
	}
}

// FuzzJSON: nothing breaks the reader, and what it reads of plain JSON is what the standard library reads.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"apps":[{"script":"a.js"}]}`, "{a:'b',/*c*/}", "[1,2,]", `"\ud83d\ude00"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		v, err := parseJSON(source)
		var plain any
		if err != nil || json.Unmarshal(source, &plain) != nil {
			return
		}
		var again any
		if err := json.Unmarshal([]byte(v.json()), &again); err != nil {
			t.Fatalf("%q: %s: %v", source, v.json(), err)
		}
		if d := cmp.Diff(plain, again); d != "" {
			t.Errorf("%q: %s", source, d)
		}
	})
}

// FuzzYAML: nothing breaks the reader.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"apps:\n- script: a.js\n", "a: &a [*a]", "<<: {a: 1}", "? [x]\n: y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, source []byte) {
		if v, err := parseYAML(source); err == nil {
			_ = v.json()
		}
	})
}

// FuzzApps: whatever a file says, an app that comes out is one that the cluster takes.
func FuzzApps(f *testing.F) {
	f.Add([]byte(`{script: "/bin/sh", args: "a b", instances: -1, env: {A: {}}, watch: true, kill_timeout: "3s", max_memory_restart: "1G"}`))
	f.Add([]byte(`[{script: "/bin/sh", interpreter: "none", env_x: {B: 1}, health: {hang: 0}, log_rotate: {size: "1M"}, listen: [80]}]`))
	f.Fuzz(func(t *testing.T, source []byte) {
		root, err := parseJSON(source)
		if err != nil {
			return
		}
		fl := &file{Options: Options{Path: "/x.json", Dir: "/", Env: "x", Cores: 2}}
		list, err := fl.apps(root)
		if err != nil {
			return
		}
		for i, v := range list {
			if app, ok := fl.app(v, i); ok {
				if err := app.WithDefaults().Validate(); err != nil {
					t.Error(err)
				}
			} else if len(fl.problems) == 0 {
				t.Error("refused without a reason")
			}
		}
	})
}
