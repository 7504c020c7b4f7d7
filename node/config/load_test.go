package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// home is the least a test's environment must hold.
const home = "HOME=/home/op"

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLayers(t *testing.T) {
	file := write(t, "meshnode.yaml", `
join: [seed-1, "seed-2:9000"]
node: from-file
zone: file-zone
cores: 2
http: off
tag: {disk: ssd, rack: "7"}
log_json: yes
`)
	got, rest, err := Load(
		[]string{"-node", "from-flag", "-tag=disk=hdd", "extra", "-insecure"},
		[]string{home, "MESHNODE_CONFIG=" + file, "MESHNODE_NODE=from-env", "MESHNODE_ZONE=env-zone", "MESHNODE_DATA_DIR=/data", "MESHNODE_BIND="})
	if err != nil {
		t.Fatal(err)
	}
	want := Settings{
		Join: []string{"seed-1:7946", "seed-2:9000"}, Bind: "0.0.0.0:7946", Node: "from-flag", DataDir: "/data", Insecure: true,
		Tags: map[string]string{"disk": "hdd"}, Zone: "env-zone", Cores: 2, LogLevel: "info", LogJSON: true, ConfigFile: file, Direct: true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("settings (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"extra"}, rest); d != "" {
		t.Errorf("rest: %s", d)
	}
	if got.Socket() != "/data/meshnode.sock" {
		t.Errorf("socket %q", got.Socket())
	}
}

func TestDefaults(t *testing.T) {
	got, rest, err := Load(nil, []string{home, "MESHNODE_NODE=a", "MESHNODE_DATA_DIR=/d"})
	if err != nil || rest != nil {
		t.Fatal(err, rest)
	}
	want := Settings{Bind: "0.0.0.0:7946", Node: "a", DataDir: "/d", HTTP: "127.0.0.1:7947", LogLevel: "info", Direct: true}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestDataDir(t *testing.T) {
	for _, c := range []struct {
		uid     int
		environ []string
		want    string
	}{
		{0, []string{home}, "/var/lib/meshnode"},
		{1000, []string{home}, "/home/op/.local/state/meshnode"},
		{1000, []string{home, "XDG_STATE_HOME=/state"}, "/state/meshnode"},
		{1000, []string{home, "XDG_STATE_HOME=relative"}, "/home/op/.local/state/meshnode"},
		{1000, nil, ""},
	} {
		if got := dataDirFor(c.uid, c.environ); got != c.want {
			t.Errorf("%d %v: got %q, want %q", c.uid, c.environ, got, c.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"seed", "seed:7946"}, {"seed:1", "seed:1"}, {"10.0.0.1", "10.0.0.1:7946"}, {"10.0.0.1:2", "10.0.0.1:2"},
		{"::1", "[::1]:7946"}, {"[::1]", "[::1]:7946"}, {"[::1]:3", "[::1]:3"}, {"fe80::1%eth0", "[fe80::1%eth0]:7946"},
		{":7000", ":7000"}, {"", ""}, {"a:b", ""}, {"a:1:2", ""}, {"http://seed:7946", ""}, {"seed:70000", ""}, {"a b", ""},
	} {
		got, err := JoinHostPort(c.in, PeerPort)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestNormalForm(t *testing.T) {
	for _, c := range []struct {
		args []string
		get  func(Settings) any
		want any
	}{
		{[]string{"-join", "a,b:1", "-join", "c"}, func(s Settings) any { return s.Join }, []string{"a:7946", "b:1", "c:7946"}},
		{[]string{"-bind", "10.0.0.1"}, func(s Settings) any { return s.Bind }, "10.0.0.1:7946"},
		{[]string{"-bind", ":7000", "-advertise", "1.2.3.4"}, func(s Settings) any { return s.Advertise }, "1.2.3.4:7000"},
		{[]string{"-http", "off"}, func(s Settings) any { return s.HTTP }, ""},
		{[]string{"-http", ""}, func(s Settings) any { return s.HTTP }, ""},
		{[]string{"-http", "8080"}, func(s Settings) any { return s.HTTP }, "127.0.0.1:8080"},
		{[]string{"-http", "0.0.0.0"}, func(s Settings) any { return s.HTTP }, "0.0.0.0:7947"},
		{[]string{"-log-json=false"}, func(s Settings) any { return s.LogJSON }, false},
	} {
		s, _, err := Load(append(c.args, "-node", "a"), []string{home})
		if err != nil {
			t.Errorf("%v: %v", c.args, err)
			continue
		}
		if d := cmp.Diff(c.want, c.get(s)); d != "" {
			t.Errorf("%v: %s", c.args, d)
		}
	}
}

// TestProblems holds the exact words an operator reads.
func TestProblems(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		environ []string
		want    []string
	}{
		{"unknown flag", []string{"-jion", "a"}, nil, []string{"there is no flag -jion; did you mean -join?"}},
		{"unknown flag, nothing near", []string{"-quorum-size", "3"}, nil, []string{"there is no flag -quorum-size"}},
		{"no value", []string{"-join"}, nil, []string{"-join needs a value"}},
		{"all at once", []string{"-cores", "many", "-log-level", "inof", "-advertise", "0.0.0.0", "-join", ":7946"}, nil, []string{
			`-cores: "many" is not a whole number; leave it out to use all cores`,
			`-join: ":7946" names no server; give the host name or address of one`,
			`-advertise: "0.0.0.0:7946" reaches no one; give the address that the other servers see`,
			`-log-level: there is no level "inof"; did you mean info?`,
		}},
		{"an address reported once", []string{"-bind", "a:b:c"}, nil, []string{`-bind: "a:b:c" is not an address of the form host:port`}},
		{"place is named", nil, []string{"MESHNODE_CORES=-1", "MESHNODE_LOG_JSON=maybe"}, []string{
			`MESHNODE_LOG_JSON: "maybe" is neither true nor false`,
			`MESHNODE_CORES: -1 is not between 1 and 1024; leave it out to use all cores`,
		}},
		{"mistyped variable", nil, []string{"MESHNODE_JION=a", "MESHNODE_INSECUR=1", "MESHNODE_MODE=x", "MESHNODE_APP=x"}, []string{
			"MESHNODE_JION: there is no such setting; did you mean MESHNODE_JOIN?",
			"MESHNODE_INSECUR: there is no such setting; did you mean MESHNODE_INSECURE?",
		}},
		{"key and insecure", []string{"-insecure"}, []string{"MESHNODE_KEY=mk1-secret"}, []string{"-insecure: MESHNODE_KEY is set too; leave one of the two out"}},
		{"key twice", nil, []string{"MESHNODE_KEY=mk1-secret", "MESHNODE_KEY_FILE=/k"}, []string{"MESHNODE_KEY_FILE: MESHNODE_KEY is set too; leave one of the two out"}},
		{"tags", []string{"-tag", "disk", "-node", "a"}, nil, []string{`-tag: "disk" is not of the form name=value`}},
		{"tag twice", []string{"-tag", "a=1,a=2"}, nil, []string{`-tag: "a" is given twice, as "1" and as "2"`}},
		{"node name", []string{"-node", "a b"}, nil, []string{`-node: "a b" is no usable name; use up to 63 letters, digits, dots, dashes and underscores`}},
		{"app-bind", []string{"-app-bind", "eth0"}, nil, []string{`-app-bind: "eth0" is not an IP address; leave it out for all addresses`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := Load(append([]string{"-node=a"}, c.args...), append([]string{home}, c.environ...))
			if err == nil {
				t.Fatal("no error")
			}
			if d := cmp.Diff(strings.Join(c.want, "\n"), err.Error()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Error("the key is in the message")
			}
		})
	}
}

func TestFileProblems(t *testing.T) {
	path := write(t, "m.yaml", strings.Join([]string{
		"jion: a", "cores: [1, 2]", "key: mk1-secret", "node: a", "node: b", "log-level: loud", "tag: [a=1, b]", "join: {a: b}", "config: x",
	}, "\n"))
	_, _, err := Load([]string{"-config", path}, []string{home})
	want := []string{
		":1: jion: there is no such key; did you mean join?",
		":2: cores: must be one plain value",
		":3: key: the key itself does not belong into this file; name its file with key_file",
		":5: node: is given on line 4 already",
		`:7: tag: "b" is not of the form name=value`,
		":8: join: must be one plain value",
		":9: config: a settings file names no other",
		`:6: log-level: there is no level "loud"; use one of trace, debug, info, warn, error`,
	}
	if err == nil {
		t.Fatal("no error")
	}
	if d := cmp.Diff(path+strings.Join(want, "\n"+path), err.Error()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestFileForms(t *testing.T) {
	for name, text := range map[string]string{
		"list":       "join:\n  - a\n  - b\nnode: n",
		"words":      "join: a, b\nnode: n",
		"json":       "{\n\t\"join\": [\"a\", \"b\"],\n\t\"node\": \"n\", \"cores\": null\n}",
		"dash":       "join: [a, b]\nnode: n\ndata-dir: ''\n",
		"with start": "---\njoin: [a, b]\nnode: n\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, _, err := Load([]string{"-config", write(t, "f", text)}, []string{home})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"a:7946", "b:7946"}, s.Join); d != "" || s.Node != "n" {
				t.Errorf("%q %s", s.Node, d)
			}
		})
	}
	if _, _, err := Load([]string{"-node=a", "-config", write(t, "empty", "# nothing\n\n")}, []string{home}); err != nil {
		t.Error("empty file:", err)
	}
	for _, text := range []string{"- a\n- b\n", "a: b: c\n", "a: 1\n---\nb: 2\n", "just words\n"} {
		if _, _, err := Load([]string{"-node=a", "-config", write(t, "bad", text)}, []string{home}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if _, _, err := Load([]string{"-node=a", "-config", "/nowhere/m.yaml"}, []string{home}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestKeySources(t *testing.T) {
	file := write(t, "m.yaml", "key_file: /from/file\n")
	env := "MESHNODE_KEY=mk1-x"
	for _, c := range []struct {
		args, environ []string
		key, keyFile  string
	}{
		{nil, []string{env}, "mk1-x", ""},
		{[]string{"-config", file}, []string{env}, "mk1-x", ""},
		{[]string{"-config", file}, nil, "", "/from/file"},
		{[]string{"-key-file", "/k"}, []string{env}, "", "/k"},
	} {
		s, _, err := Load(append([]string{"-node=a"}, c.args...), append([]string{home}, c.environ...))
		if err != nil || s.Key != c.key || s.KeyFile != c.keyFile {
			t.Errorf("%v %v: key %q, file %q, %v", c.args, c.environ, s.Key, s.KeyFile, err)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, word := range []string{"-h", "-help", "--help"} {
		if _, _, err := Load([]string{word}, nil); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%s: %v", word, err)
		}
	}
}

func TestValidateNamesFlags(t *testing.T) {
	err := Settings{Bind: "x", HTTP: "y", LogLevel: "info", DataDir: "rel", Join: []string{"z"}}.Validate()
	for _, want := range []string{"-bind:", "-http:", "-data-dir:", "-join:", "-node:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing in %v", want, err)
		}
	}
	if err := (Settings{Bind: "x:1", LogLevel: "info", DataDir: "/d", Node: "a"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestDirect(t *testing.T) {
	for value, want := range map[string]bool{"auto": true, "OFF": false} {
		got, _, err := Load([]string{"-direct", value}, []string{home, "MESHNODE_NODE=a", "MESHNODE_DATA_DIR=/d"})
		if err != nil || got.Direct != want {
			t.Errorf("-direct %s: %v, %v", value, got.Direct, err)
		}
	}
	if _, _, err := Load([]string{"-direct", "perhaps"}, []string{home, "MESHNODE_NODE=a", "MESHNODE_DATA_DIR=/d"}); err == nil {
		t.Error("-direct perhaps")
	}
}
