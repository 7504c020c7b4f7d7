package output

import "time"

// timeFormat begins every stored line: UTC, fixed width, so that text order is time order.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// sink is where the lines of one stream of one worker go: files and followers.
type sink struct {
	book   *Book
	app    string
	worker string
	stream string
	files  []*file // the stored one first, then custom ones by path: they are locked in this order
	form   form
}

// tailed is the sink for one process, which remembers its last lines.
type tailed struct {
	*sink
	tail *tail
}

// pen is a gulp being written.
type pen struct {
	*sink
	at        time.Time
	prefix    []byte
	date      []byte
	followers []*Follower
	memory    [64]byte
}

// open locks the files and stamps the gulp. The time is taken with the files locked, so that the order in a file that many write is the
// order of the times.
func (s *sink) open(p *pen) {
	for _, f := range s.files {
		f.mu.Lock()
	}
	stamp := s.book.stamp()
	p.sink, p.at = s, time.UnixMicro(stamp).UTC()
	p.prefix = append(p.at.AppendFormat(p.memory[:0], timeFormat), ' ')
	if s.form.dates != "" {
		p.date = s.form.date(p.at)
	}
	for _, f := range s.files {
		if f.custom {
			f.begin(p.date)
		} else {
			f.begin(p.prefix)
		}
	}
	p.followers = s.book.hub.wanting(s.app, s.worker, s.stream, stamp)
}

func (p *pen) put(line []byte) {
	for _, f := range p.files {
		if f.custom {
			p.putCustom(f, line)
			continue
		}
		if !f.room(len(p.prefix) + len(line) + 1) {
			f.lose(1, p.at)
			continue
		}
		b := append(f.cur.b, p.prefix...)
		b = append(b, line...)
		f.cur.b = append(b, '\n')
		f.cur.lines++
	}
	for _, f := range p.followers {
		f.add(p.at, p.sink, line)
	}
}

func (p *pen) close() {
	for _, f := range p.files {
		f.mu.Unlock()
		poke(f.wake)
	}
	for _, f := range p.followers {
		poke(f.wake)
	}
}

// take stores every whole line that the splitter holds.
func (s tailed) take(sp *splitter) {
	line, ok := sp.next()
	if !ok {
		return
	}
	var p pen
	s.open(&p)
	defer p.close()
	for ; ok; line, ok = sp.next() {
		p.put(line)
		s.tail.add(line)
	}
}

// one stores one line.
func (s tailed) one(line []byte) {
	s.sink.one(line)
	s.tail.add(line)
}

func (s *sink) one(line []byte) {
	var p pen
	s.open(&p)
	defer p.close()
	p.put(line)
}
