package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestDemo runs the whole demo once, with each of its apps, and looks at what it leaves behind.
func TestDemo(t *testing.T) {
	t.Run("node", func(t *testing.T) {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("no node in PATH: install Node.js to run this test")
		}
		runDemo(t, "127.88.0.1")
	})
	t.Run("go", func(t *testing.T) {
		gocmd, err := exec.LookPath("go")
		if err != nil {
			t.Fatal(err)
		}
		tools := t.TempDir() // a PATH with go, and no node
		if err := os.Symlink(gocmd, filepath.Join(tools, "go")); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", tools)
		runDemo(t, "127.88.0.11")
	})
}

func runDemo(t *testing.T, first string) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := demo(ctx, &out, options{first: first, bin: filepath.Join(tmp, "meshnode"), once: true}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	text := out.String()
	t.Log(text)

	answered, by := 0, map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  (s\d)/\d+ +(\d+) `).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		answered += n
		by[m[1]] = true
	}
	if answered != requests || len(by) != nodes {
		t.Errorf("%d of %d requests answered, by %d of %d nodes", answered, requests, len(by), nodes)
	}
	left, err := filepath.Glob(filepath.Join(tmp, "meshnode-demo-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if pids := mentioning(t, tmp); len(pids) > 0 {
		t.Errorf("processes left behind: %v", pids)
	}
}

// mentioning lists the processes whose command line names the folder.
func mentioning(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(raw), dir) {
			out = append(out, f+": "+strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	return out
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.88.1.2:3000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &cluster{bin: "/does/not/exist", dir: t.TempDir(), addrs: []string{"127.88.1.1", "127.88.1.2"}}
	err = c.start(context.Background())
	if err == nil || !strings.HasPrefix(err.Error(), "127.88.1.2:3000 is in use by another program;") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that names the address", err)
	}
}

func TestAddresses(t *testing.T) {
	for first, want := range map[string]string{"127.0.0.1": "127.0.0.1 127.0.0.2 127.0.0.3", "127.0.0.255": "127.0.0.255 127.0.1.0 127.0.1.1", "10.0.0.1": "", "x": ""} {
		got, err := addresses(first)
		if strings.Join(got, " ") != want || (err == nil) != (want != "") {
			t.Errorf("addresses(%q) = %v, %v", first, got, err)
		}
	}
}

func TestShown(t *testing.T) {
	if got := strings.TrimSpace(shown([]string{"-i", "2", "-cwd", "/srv/x", "/srv/x/server.js"})); got != "-i 2 server.js" {
		t.Errorf("shown: %q", got)
	}
}
