package appfile

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"meshnode/store/spec"
)

// scalar returns a text, number or boolean as it was written.
func (v value) scalar() (string, error) {
	switch v.kind {
	case text, number, boolean:
		return v.word, nil
	}
	return "", fmt.Errorf("must be a text, and not %s", v.kind)
}

// flag reads true or false, also as a text.
func (v value) flag() (bool, error) {
	if v.kind == boolean || v.kind == text {
		switch strings.ToLower(v.word) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	}
	return false, fmt.Errorf("must be true or false, and not %s", v.shown())
}

// shown is v for a message that says what was wanted.
func (v value) shown() string {
	if v.kind == text || v.kind == number || v.kind == boolean {
		return strconv.Quote(clip(v.word))
	}
	return v.kind.String()
}

// count reads a whole number from 0, also as a text.
func (v value) count() (int, error) {
	f, err := strconv.ParseFloat(v.word, 64)
	if (v.kind != number && v.kind != text) || err != nil || f != math.Trunc(f) || f < 0 || f > 1<<30 {
		return 0, fmt.Errorf("must be a whole number, and not %s", v.shown())
	}
	return int(f), nil
}

// seconds reads a time: a number is in milliseconds, as PM2 has it, and a text may have a unit.
func (v value) seconds() (float64, error) {
	if v.kind != number && v.kind != text {
		return 0, fmt.Errorf("must be a time like 3000 (milliseconds) or 3s, and not %s", v.shown())
	}
	return Seconds(v.word)
}

// Seconds reads a time as PM2's users write it: a bare number is in milliseconds; with a unit (ms, s, m, h, d) it is what it says. The
// result is in seconds.
func Seconds(word string) (float64, error) {
	bad := fmt.Errorf("%q is no time; give one with its unit, like 30s, or a number of milliseconds", clip(word))
	word = strings.TrimSpace(word)
	s, err := strconv.ParseFloat(word, 64)
	s /= 1000
	if days, ok := strings.CutSuffix(word, "d"); ok {
		s, err = strconv.ParseFloat(days, 64)
		s *= 86400
	} else if err != nil {
		var d time.Duration
		d, err = time.ParseDuration(word)
		s = d.Seconds()
	}
	if err != nil || math.IsNaN(s) || math.IsInf(s, 0) || s < 0 {
		return 0, bad
	}
	return s, nil
}

// bytes reads a size: a number is in bytes.
func (v value) bytes() (uint64, error) {
	if v.kind != number && v.kind != text {
		return 0, fmt.Errorf("must be a size like 300M, and not %s", v.shown())
	}
	return Bytes(v.word)
}

// Bytes reads a size as PM2's users write it: a bare number is in bytes; K, M, G and T are powers of 1024, and may be followed by B
// or iB.
func Bytes(word string) (uint64, error) {
	bad := fmt.Errorf("%q is no size; give one like 300M or 1.5G", clip(word))
	upper := strings.ToUpper(strings.TrimSpace(word))
	digits := strings.TrimSuffix(strings.TrimSuffix(upper, "B"), "I")
	unit := 1.0
	if n := len(digits); n > 0 {
		if power := strings.IndexByte("KMGT", digits[n-1]); power >= 0 {
			unit, digits = math.Pow(1024, float64(power+1)), strings.TrimSpace(digits[:n-1])
		} else if digits != upper && digits+"B" != upper {
			return 0, bad
		}
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*unit > 1<<60 {
		return 0, bad
	}
	return uint64(f * unit), nil
}

// texts reads a list of texts, or one text that stands for a list of it alone.
func (v value) texts() ([]string, error) {
	if v.kind != list {
		word, err := v.scalar()
		if err != nil {
			return nil, fmt.Errorf("must be a text or a list of texts, and not %s", v.kind)
		}
		return []string{word}, nil
	}
	out := []string{}
	for _, e := range v.list {
		word, err := e.scalar()
		if err != nil {
			return nil, fmt.Errorf("the list must hold texts, and not %s", e.kind)
		}
		out = append(out, word)
	}
	return out, nil
}

// words reads a list of texts, or one text that is split into words.
func (v value) words() ([]string, error) {
	if v.kind != text || strings.TrimSpace(v.word) == "" {
		if v.kind == text {
			return nil, nil
		}
		return v.texts()
	}
	return Split(v.word)
}

// variables reads the variables of a worker. An object or a list arrives as JSON. One that is null is unset: it is in the result's gone.
func (v value) variables() (set map[string]string, gone []string, err error) {
	if v.kind != object {
		return nil, nil, fmt.Errorf("must be an object of variables, and not %s", v.kind)
	}
	set = make(map[string]string, len(v.keys))
	for _, e := range v.keys {
		switch e.value.kind {
		case null:
			gone = append(gone, e.key)
		case object, list:
			set[e.key] = e.value.json()
		default:
			set[e.key] = e.value.word
		}
	}
	return set, gone, nil
}

// json is v as compact JSON.
func (v value) json() string {
	var b strings.Builder
	v.write(&b)
	return b.String()
}

func (v value) write(b *strings.Builder) {
	switch v.kind {
	case null:
		b.WriteString("null")
	case number, boolean:
		b.WriteString(v.word)
	case text:
		b.WriteString(quoteJSON(v.word))
	case list:
		b.WriteByte('[')
		for i, e := range v.list {
			if i > 0 {
				b.WriteByte(',')
			}
			e.write(b)
		}
		b.WriteByte(']')
	case object:
		b.WriteByte('{')
		for i, e := range v.keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(quoteJSON(e.key) + ":")
			e.value.write(b)
		}
		b.WriteByte('}')
	}
}

// address reads one client address: a port, or host:port; of datagrams with /udp behind it.
func address(word string) string {
	bare, _ := spec.Datagrams(word)
	if _, err := strconv.ParseUint(bare, 10, 64); err == nil {
		return ":" + word
	}
	return word
}

// one makes sure that a word is one of some.
func one(word string, allowed ...string) error {
	for _, a := range allowed {
		if a == word {
			return nil
		}
	}
	return fmt.Errorf("%q: use one of %s", clip(word), strings.Join(allowed, ", "))
}

var errPositive = errors.New("must be more than 0")
