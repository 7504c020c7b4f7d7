package supervisor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIgnorePatterns(t *testing.T) {
	for pattern, paths := range map[string][2][]string{ // ignored, and not
		"node_modules": {{"node_modules/x.js", "a/node_modules/b/c.js", "node_modules"}, {"node_modules_x/a.js"}},
		"*.log":        {{"a.log", "deep/er/b.log"}, {"a.log.js", "log"}},
		"logs":         {{"logs/a.txt", "logs", "x/logs/y"}, {"logs2/a.txt"}},
		"**/*.tmp":     {{"a.tmp", "x/y/a.tmp"}, {"a.tmp.js"}},
		"./tmp":        {{"tmp/a", "tmp"}, {"tmpx"}},
		"tmp/":         {{"tmp/a"}, {"tmpx/a"}},
		"logs/**":      {{"logs/a", "logs/b/c"}, {"log/a"}},
		"logs/*.txt":   {{"logs/a.txt"}, {"logs/b/a.txt", "a.txt"}},
		"src/**/*.css": {{"src/a.css", "src/x/y/a.css"}, {"a.css", "lib/a.css"}},
		"*.{log,pid}":  {{"a.log", "x/a.pid"}, {"a.js"}},
		"a[0-9].js":    {{"a1.js"}, {"ab.js"}},
		"/app/tmp":     {{"tmp/x", "tmp"}, {"x/tmp"}},
		"/app/tmp/":    {{"tmp/x"}, {"tmpx"}},
		"/app/*.log":   {{"a.log"}, {"x/a.log"}},
		"[":            {nil, {"a.js"}},
		".":            {nil, {"a.js"}},
		"..hidden":     {{"..hidden/x"}, {"a.js"}},
	} {
		p := newPatterns("/app", []string{"/app"}, []string{pattern})
		for i, list := range paths {
			for _, path := range list {
				if p.fit("/app/"+path) != (i == 0) {
					t.Errorf("%s, %s: ignored %v", pattern, path, i != 0)
				}
			}
		}
	}
	p := newPatterns("/app", []string{"/app/src", "/app/.env"}, []string{"src/gen"})
	if !p.fit("/app/src/gen/x.js") || p.fit("/app/src/x.js") || p.fit("/app/src/.x") {
		t.Error("a path below the app's folder")
	}
	p = newPatterns("/app", []string{"/app", "/app/.env"}, nil)
	if !p.fit("/app/.a.swp") || !p.fit("/app/.git/x") || p.fit("/app/a") {
		t.Error("hidden files where the app says nothing")
	}
}

func put(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(time.Now().String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// watching waits until the files of the app are watched.
func (b *bench) watching() {
	b.t.Helper()
	b.eventually("watch", func() bool {
		b.sup.poke() // asked again at once
		return watchesFiles()
	})
}

// watchesFiles reports whether an inotify descriptor of this process watches anything.
func watchesFiles() bool {
	infos, _ := filepath.Glob("/proc/self/fdinfo/*")
	return slices.ContainsFunc(infos, func(info string) bool {
		raw, err := os.ReadFile(info)
		return err == nil && strings.Contains(string(raw), "inotify wd:")
	})
}

// Each kind of change replaces the worker once, and what is ignored does not.
func TestFilesChange(t *testing.T) {
	b := newBench(t)
	src := filepath.Join(b.dir, "src")
	put(t, src+"/app.js")
	s := b.spec(1, "polite ready wait")
	s.Restart.Watch, s.Restart.IgnoreWatch, s.Restart.WatchDelay = []string{src}, []string{"*.log", "./src/tmp"}, 100*time.Millisecond
	b.start(s, StartFirst)
	b.ready(1)
	b.watching()
	rounds := 0
	step := func(what string, change func()) {
		t.Helper()
		rounds++
		change()
		st := b.until(what, func(s Status) bool { return s.State == StateReady && s.Restarts >= rounds })
		if st.Restarts != rounds {
			t.Fatalf("%s: %d restarts, want %d", what, st.Restarts, rounds)
		}
	}
	step("a change", func() { put(t, src+"/app.js") })
	step("a burst", func() {
		put(t, src+"/a.log")
		put(t, src+"/tmp/x")
		for i := range 50 {
			put(t, src+"/f"+itoa(i))
		}
	})
	step("a file that is put in place of another", func() {
		put(t, src+"/tmp/new")
		if err := os.Rename(src+"/tmp/new", src+"/app.js"); err != nil {
			t.Fatal(err)
		}
	})
	step("a new folder", func() { put(t, src+"/deep/er/x.js") })
	step("a change in it", func() { put(t, src+"/deep/er/x.js") })
	step("all made anew", func() {
		if err := os.RemoveAll(src); err != nil {
			t.Fatal(err)
		}
		put(t, src+"/app.js")
	})
}

// A change brings back a worker that was given up: it may be what mends it. Also one that comes while another is being made good.
func TestChangeMends(t *testing.T) {
	b := newBench(t)
	script := filepath.Join(b.dir, "app.sh")
	write := func(text string) {
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("exit 9")
	s := b.sh(1, ". ./app.sh")
	s.Restart.Max, s.Restart.Watch, s.Restart.WatchDelay = 1, []string{script}, 100*time.Millisecond
	b.start(s, StartFirst)
	b.until("giving up", func(s Status) bool { return s.State == StateFailed })
	b.watching()
	good := roles["ready"] + "\n" + roles["wait"]
	write(good)
	old := b.ready(1)
	write("exit 9")
	st := b.until("failed replacement", func(s Status) bool { return s.Error != "" })
	if st.PID != old.PID || st.State != StateReady {
		t.Errorf("status %+v", st)
	}
	write(good)
	if st := b.until("replacement", func(s Status) bool { return s.PID != old.PID && s.State == StateReady }); st.Error != "" {
		t.Errorf("status %+v", st)
	}
}
