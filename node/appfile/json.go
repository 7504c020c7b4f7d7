package appfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parseJSON reads JSON as PM2's users write it, which is as JavaScript reads an object: with comments, trailing commas, keys without
// quotes and texts in single quotes.
func parseJSON(source []byte) (value, error) {
	p := &jsonReader{rest: strings.TrimPrefix(string(source), "\ufeff"), line: 1}
	if !utf8.ValidString(p.rest) {
		return value{}, errors.New("it is not UTF-8")
	}
	v, err := p.value(0)
	if err == nil {
		if err = p.space(); err == nil && p.rest != "" {
			err = fmt.Errorf("%s is behind the end", p.next())
		}
	}
	if err != nil {
		return value{}, &syntaxError{p.line, err}
	}
	return v, nil
}

type jsonReader struct {
	rest  string
	line  int
	nodes int
}

// next is what stands at the present place, for a message.
func (p *jsonReader) next() string {
	if p.rest == "" {
		return "the end of the file"
	}
	r, _ := utf8.DecodeRuneInString(p.rest)
	return strconv.QuoteRune(r)
}

// skip goes on by n bytes.
func (p *jsonReader) skip(n int) {
	p.line += strings.Count(p.rest[:n], "\n")
	p.rest = p.rest[n:]
}

// space skips white space and comments.
func (p *jsonReader) space() error {
	for {
		trimmed := strings.TrimLeftFunc(p.rest, unicode.IsSpace)
		p.skip(len(p.rest) - len(trimmed))
		switch {
		case strings.HasPrefix(p.rest, "//"):
			end := strings.IndexByte(p.rest, '\n')
			if end < 0 {
				end = len(p.rest)
			}
			p.skip(end)
		case strings.HasPrefix(p.rest, "/*"):
			end := strings.Index(p.rest[2:], "*/")
			if end < 0 {
				return errors.New("a comment has no end")
			}
			p.skip(end + 4)
		default:
			return nil
		}
	}
}

// take skips space and then the given character, and reports whether it was there.
func (p *jsonReader) take(c byte) (bool, error) {
	if err := p.space(); err != nil || p.rest == "" || p.rest[0] != c {
		return false, err
	}
	p.rest = p.rest[1:]
	return true, nil
}

func (p *jsonReader) value(depth int) (value, error) {
	if err := p.space(); err != nil {
		return value{}, err
	}
	if p.nodes++; p.nodes > maxNodes {
		return value{}, errMany
	}
	if depth > maxDepth {
		return value{}, errDeep
	}
	v := value{line: p.line}
	var err error
	switch {
	case p.rest == "":
		return v, errors.New("the file ends where a value is wanted")
	case p.rest[0] == '{':
		v.kind = object
		err = p.object(&v, depth)
	case p.rest[0] == '[':
		v.kind = list
		err = p.array(&v, depth)
	case p.rest[0] == '"' || p.rest[0] == '\'':
		v.kind = text
		v.word, err = p.quoted()
	default:
		err = p.bare(&v)
	}
	return v, err
}

func (p *jsonReader) object(v *value, depth int) error {
	p.rest = p.rest[1:]
	seen := map[string]int{}
	for {
		if end, err := p.take('}'); end || err != nil {
			return err
		}
		e := entry{line: p.line}
		var err error
		if e.key, err = p.key(); err != nil {
			return err
		}
		if colon, err := p.take(':'); err != nil || !colon {
			return errors.Join(err, fmt.Errorf("a colon is wanted behind %q, and not %s", clip(e.key), p.next()))
		}
		if e.value, err = p.value(depth + 1); err != nil {
			return err
		}
		if err := v.add(e, seen); err != nil {
			return err
		}
		if end, err := p.separated('}'); end || err != nil {
			return err
		}
	}
}

func (p *jsonReader) array(v *value, depth int) error {
	p.rest = p.rest[1:]
	for {
		if end, err := p.take(']'); end || err != nil {
			return err
		}
		e, err := p.value(depth + 1)
		if err != nil {
			return err
		}
		v.list = append(v.list, e)
		if end, err := p.separated(']'); end || err != nil {
			return err
		}
	}
}

// separated reads what stands behind an element: a comma, or the end.
func (p *jsonReader) separated(end byte) (bool, error) {
	if comma, err := p.take(','); comma || err != nil {
		return false, err
	}
	done, err := p.take(end)
	if err == nil && !done {
		err = fmt.Errorf("a comma or %q is wanted, and not %s", end, p.next())
	}
	return done, err
}

func (p *jsonReader) key() (string, error) {
	if p.rest == "" {
		return "", errors.New("the file ends inside an object")
	}
	if p.rest[0] == '"' || p.rest[0] == '\'' {
		return p.quoted()
	}
	name := p.identifier()
	if name == "" {
		return "", fmt.Errorf("a key is wanted, and not %s", p.next())
	}
	return name, nil
}

// identifier reads a word of letters, digits, underscores and dollar signs; it may be empty.
func (p *jsonReader) identifier() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return r != '_' && r != '$' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

// bare reads a number, true, false or null.
func (p *jsonReader) bare(v *value) error {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return !strings.ContainsRune("+-.", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	if end < 0 {
		end = len(p.rest)
	}
	v.word = p.rest[:end]
	switch v.word {
	case "null", "undefined":
		v.kind, v.word = null, ""
	case "true", "false":
		v.kind = boolean
	case "":
		return fmt.Errorf("a value is wanted, and not %s", p.next())
	default:
		v.kind = number
		if !json.Valid([]byte(strings.TrimPrefix(v.word, "+"))) {
			return fmt.Errorf("%q is no value; put a text between quotes", clip(v.word))
		}
	}
	p.rest = p.rest[end:]
	return nil
}

// quoted reads a text between single or double quotes.
func (p *jsonReader) quoted() (string, error) {
	quote := p.rest[0]
	var b strings.Builder
	for i := 1; i < len(p.rest); {
		switch c := p.rest[i]; {
		case c == quote:
			p.skip(i + 1)
			return b.String(), nil
		case c == '\n':
			return "", errors.New("a text does not end on its line")
		case c == '\\':
			n, err := escape(&b, p.rest[i:])
			if err != nil {
				return "", err
			}
			i += n
		default:
			b.WriteByte(c)
			i++
		}
	}
	return "", errors.New("a text does not end")
}

// escape writes the character that an escape at the start of s stands for, and returns the length of the escape.
func escape(b *strings.Builder, s string) (int, error) {
	if len(s) < 2 {
		return 0, errors.New("a text does not end")
	}
	if i := strings.IndexByte("bfnrtv0", s[1]); i >= 0 {
		b.WriteByte("\b\f\n\r\t\v\x00"[i])
		return 2, nil
	}
	switch s[1] {
	case '\n': // the text goes on in the next line
		return 2, nil
	case 'x':
		return hex(b, s, 2, 4)
	case 'u':
		if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' { // perhaps two halves of one character
			var pair string
			if json.Unmarshal([]byte(`"`+s[:12]+`"`), &pair) == nil && utf8.RuneCountInString(pair) == 1 && !strings.ContainsRune(pair, utf8.RuneError) {
				b.WriteString(pair)
				return 12, nil
			}
		}
		return hex(b, s, 2, 6)
	}
	_, n := utf8.DecodeRuneInString(s[1:])
	b.WriteString(s[1 : 1+n])
	return 1 + n, nil
}

func hex(b *strings.Builder, s string, from, to int) (int, error) {
	if len(s) < to {
		return 0, errors.New("a text does not end")
	}
	n, err := strconv.ParseUint(s[from:to], 16, 16)
	if err != nil {
		return 0, fmt.Errorf("%q is no character", s[:to])
	}
	b.WriteRune(rune(n))
	return to, nil
}
