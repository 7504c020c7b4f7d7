package output

import (
	"strconv"
	"strings"
	"time"
)

// moment appends a time in a format of the kind that PM2's log_date_format takes. What it does not know stands as it is.
func moment(b []byte, format string, at time.Time) []byte {
	for len(format) > 0 {
		if rest, ok := strings.CutPrefix(format, "["); ok { // as it stands
			text, after, _ := strings.Cut(rest, "]")
			b, format = append(b, text...), after
			continue
		}
		n := 1
		for n < len(format) && format[n] == format[0] {
			n++
		}
		part := format[:n]
		if part == "D" && strings.HasPrefix(format[1:], "o") {
			b, format = append(strconv.AppendInt(b, int64(at.Day()), 10), ordinal(at.Day())...), format[2:]
			continue
		}
		b, format = momentPart(b, part, at), format[n:]
	}
	return b
}

// layout is a part that Go has in its own way, or "".
func layout(part string) string {
	switch part {
	case "YYYY":
		return "2006"
	case "YY":
		return "06"
	case "MMMM":
		return "January"
	case "MMM":
		return "Jan"
	case "MM":
		return "01"
	case "M":
		return "1"
	case "DD":
		return "02"
	case "D":
		return "2"
	case "dddd":
		return "Monday"
	case "ddd":
		return "Mon"
	case "HH":
		return "15"
	case "hh":
		return "03"
	case "h":
		return "3"
	case "mm":
		return "04"
	case "m":
		return "4"
	case "ss":
		return "05"
	case "s":
		return "5"
	case "A":
		return "PM"
	case "a":
		return "pm"
	case "Z":
		return "-07:00"
	case "ZZ":
		return "-0700"
	case "z", "zz":
		return "MST"
	}
	return ""
}

func momentPart(b []byte, part string, at time.Time) []byte {
	if l := layout(part); l != "" {
		return at.AppendFormat(b, l)
	}
	switch part {
	case "H":
		return strconv.AppendInt(b, int64(at.Hour()), 10)
	case "X":
		return strconv.AppendInt(b, at.Unix(), 10)
	case "x":
		return strconv.AppendInt(b, at.UnixMilli(), 10)
	case "dd":
		return append(b, at.Weekday().String()[:2]...)
	case "d":
		return strconv.AppendInt(b, int64(at.Weekday()), 10)
	case "DDDD", "DDD":
		return strconv.AppendInt(b, int64(at.YearDay()), 10)
	case "Q":
		return strconv.AppendInt(b, int64(at.Month()+2)/3, 10)
	}
	if part[0] == 'S' {
		digits := strconv.Itoa(1_000_000_000 + at.Nanosecond())[1:]
		for len(digits) < len(part) && len(digits) < 32 {
			digits += "0"
		}
		return append(b, digits[:min(len(part), len(digits))]...)
	}
	return append(b, part...)
}

func ordinal(n int) string {
	switch {
	case n%100 >= 11 && n%100 <= 13:
		return "th"
	case n%10 == 1:
		return "st"
	case n%10 == 2:
		return "nd"
	case n%10 == 3:
		return "rd"
	}
	return "th"
}
