package output

import "bytes"

// maxLineBytes is where a line is cut into several.
const maxLineBytes = 16 << 10

// splitter takes lines out of a stream that comes in pieces.
type splitter struct {
	in   []byte // not looked at yet; the caller's
	rest []byte // of a line whose end has not come, less than maxLineBytes
	cut  bool   // the line before was cut: an empty rest is no line of its own
}

// load gives it the next piece, which must stay as it is until next has said that there is no more.
func (s *splitter) load(b []byte) { s.in = b }

// next returns a line without its end. It holds until the next call.
func (s *splitter) next() (line []byte, ok bool) {
	for len(s.in) > 0 {
		room := maxLineBytes - len(s.rest)
		window := s.in[:min(len(s.in), room)]
		i := bytes.IndexByte(window, '\n')
		if i < 0 && len(window) < room {
			s.rest = append(s.rest, window...)
			s.in = nil
			return nil, false
		}
		cut := i < 0
		if cut {
			i = len(window)
			s.in = s.in[i:]
		} else {
			s.in = s.in[i+1:]
		}
		line = window[:i]
		if len(s.rest) > 0 {
			s.rest = append(s.rest, line...)
			line, s.rest = s.rest, s.rest[:0]
		}
		line = bytes.TrimRight(line, "\r")
		was := s.cut
		s.cut = cut
		if len(line) > 0 || !was {
			return line, true
		}
	}
	return nil, false
}

// partial returns the line whose end has not come, if there is one, and takes it as complete.
func (s *splitter) partial() (line []byte, ok bool) {
	if len(s.rest) == 0 {
		return nil, false
	}
	line, s.rest, s.cut = bytes.TrimRight(s.rest, "\r"), s.rest[:0], true
	return line, true
}
