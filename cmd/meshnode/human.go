package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// humanDuration shows seconds by their two largest units: "42s", "4m12s", "2h3m", "5d4h".
func humanDuration(seconds float64) string {
	if math.IsNaN(seconds) || seconds <= 0 {
		return "0s"
	}
	const day = 86400
	s := int64(math.Min(seconds, 1e12))
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < day:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd%dh", s/day, s%day/3600)
	}
}

// humanBytes shows a size with one digit behind the point: "64.2MiB".
func humanBytes(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	value, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB"}
	for value >= 1023.95 && len(units) > 1 { // it would be shown as 1024.0
		value, units = value/1024, units[1:]
	}
	return fmt.Sprintf("%.1f%s", value, units[0])
}

// humanShare shows a share in [0,1] as a percentage.
func humanShare(share float64) string {
	if math.IsNaN(share) {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*share)
}

// humanSeconds shows a time limit given in seconds: "30s", "1m30s".
func humanSeconds(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).String()
}

// plural returns "1 worker", "2 workers".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// orDash returns a dash in place of nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// listOrDash joins a list with commas.
func listOrDash(list []string) string { return orDash(strings.Join(list, ",")) }
