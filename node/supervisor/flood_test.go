package supervisor

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"meshnode/node/supervisor/output"
)

// TestFloodOfLines has a Node worker print 1,000,000 lines as fast as it can: all are stored within the cap, and this process does not grow.
func TestFloodOfLines(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	b := newBench(t)
	f := b.follow() // reads nothing until the end: it must not make this process grow
	defer f.Close()
	s := b.node(1, `process.on('message', () => {}); require('net').createServer().listen(0, '127.0.0.1')
for (let i = 0; i < 1000000; i++) console.log('2026-11-24 info request ' + i + ' GET /api/items 200 12ms user=42')
console.log('the last line')
`)
	s.Logs = output.Policy{CapBytes: 32 << 20}
	before := resident(t)
	b.start(s, StartFirst)
	last := output.Query{Apps: []string{"app"}, Stream: output.StreamOut, Lines: 1}
	b.ready(1)
	seen := func() (text string) {
		if err := b.sup.Lines(t.Context(), last, func(l output.Line) error { text = l.Text; return nil }); err != nil {
			t.Fatal(err)
		}
		return text
	}
	for seen() != "the last line" {
		if t.Context().Err() != nil || b.sup.Status()[0].Restarts > 0 {
			t.Fatalf("the worker did not come to its end: %q", seen())
		}
	}
	grown := resident(t) - before
	t.Logf("%d KiB grown; %d lines dropped; %d bytes of logs", grown>>10, b.sup.book.LostOf("app"), b.sup.book.Size("app"))
	if grown > 100<<20 {
		t.Errorf("grown by %d MiB", grown>>20)
	}
	if size := b.sup.book.Size("app"); size > s.Logs.CapBytes {
		t.Errorf("%d bytes of logs, cap %d", size, s.Logs.CapBytes)
	}
}

// resident is the memory that this process holds, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
