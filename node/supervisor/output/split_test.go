package output

import (
	"bytes"
	"testing"
)

// FuzzSplitter feeds a text in two ways, which must give the same lines, none too long, and nothing lost but line ends.
func FuzzSplitter(f *testing.F) {
	for _, s := range []string{"", "a\nb\r\n\nc", "\r\r\n\n", string(bytes.Repeat([]byte("x"), maxLineBytes)) + "\n\n"} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, text []byte, step int) {
		step = max(1, step%70_000)
		lines := func(step int) (out [][]byte) {
			var s splitter
			for i := 0; i < len(text); i += step {
				s.load(text[i:min(i+step, len(text))])
				for l, ok := s.next(); ok; l, ok = s.next() {
					out = append(out, bytes.Clone(l))
				}
				if len(s.rest) >= maxLineBytes || len(s.in) > 0 {
					t.Fatalf("%d bytes kept, %d not looked at", len(s.rest), len(s.in))
				}
			}
			if l, ok := s.partial(); ok {
				out = append(out, bytes.Clone(l))
			}
			return out
		}
		whole, pieces := lines(len(text)+1), lines(step)
		if len(whole) != len(pieces) {
			t.Fatalf("%d lines whole, %d in pieces", len(whole), len(pieces))
		}
		var all []byte
		for i, l := range whole {
			if len(l) > maxLineBytes || !bytes.Equal(l, pieces[i]) || bytes.ContainsRune(l, '\n') {
				t.Fatalf("line %d: %.50q and %.50q", i, l, pieces[i])
			}
			all = append(all, l...)
		}
		drop := func(b []byte) []byte {
			return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\n"), nil), []byte("\r"), nil)
		}
		if !bytes.Equal(drop(all), drop(text)) {
			t.Fatal("text is lost")
		}
	})
}

// TestHotPathAllocatesNothing is the memory that stays flat: a gulp of lines that nobody follows.
func TestHotPathAllocatesNothing(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	s.mu.Lock()
	to := tailed{s.sink(StreamOut), &tail{}}
	s.mu.Unlock()
	defer func() {
		for _, f := range to.files {
			b.release(f)
		}
	}()
	text := []byte(numbered(0, 1000))
	var sp splitter
	per := testing.AllocsPerRun(50, func() {
		sp.load(text)
		to.take(&sp)
	})
	if per > 20 {
		t.Errorf("%.0f allocations for 1000 lines", per)
	}
}
