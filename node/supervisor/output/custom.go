package output

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// form is how lines stand in custom files.
type form struct {
	app    string
	slot   int
	stream string
	dates  string
	json   bool
}

// date is what stands before a line.
func (f form) date(at time.Time) []byte {
	if f.json {
		return nil
	}
	return append(moment(nil, f.dates, at.Local()), ": "...)
}

// putCustom writes a line as PM2 does. A line may need up to six times its size as JSON.
func (p *pen) putCustom(f *file, line []byte) {
	need := len(p.date) + len(line) + 1
	if p.form.json {
		need = 6*len(line) + 256 + len(p.app) + len(p.form.dates)*4
	}
	if !f.room(need) {
		f.lose(1, p.at)
		return
	}
	b := f.cur.b
	if p.form.json {
		b = p.form.object(b, line, p.at)
	} else {
		b = append(append(b, p.date...), line...)
	}
	f.cur.b = append(b, '\n')
	f.cur.lines++
}

// object is a line in the shape of PM2's log_type json. The text keeps its line end there.
func (f form) object(b, line []byte, at time.Time) []byte {
	b = append(b, `{"message":"`...)
	b = quoted(b, line)
	b = append(b, `\n","timestamp":"`...)
	if f.dates != "" {
		b = quoted(b, moment(nil, f.dates, at.Local()))
	} else {
		b = at.AppendFormat(b, "2006-01-02T15:04:05.000Z")
	}
	b = append(b, `","type":"`...)
	b = append(b, f.stream...)
	b = append(b, `","process_id":`...)
	b = strconv.AppendInt(b, int64(f.slot), 10)
	b = append(b, `,"app_name":"`...)
	b = quoted(b, []byte(f.app))
	return append(b, `"}`...)
}

// quoted appends the inside of a JSON string. What is no UTF-8 becomes the replacement character.
func quoted(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRune(text[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		default:
			b = append(b, c)
		}
		i++
	}
	return b
}
