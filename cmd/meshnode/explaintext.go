package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// compared is what a policy compares: the least has the connection.
type compared struct {
	column string // over the figures
	short  string // the same among the last connections
	meant  string // one line about it
	figure func(api.Candidate) string
}

func comparedBy(policy string) compared {
	score := func(c api.Candidate) string { return fmt.Sprintf("%.2f", c.Score) }
	switch spec.Policy(policy) {
	case spec.PolicyRoundRobin:
		return compared{">TURN", "turn", "TURN: the least is next; a connection moves its node's on by 1/WORKERS", score}
	case spec.PolicyLeastConnections:
		return compared{">PER WORKER", "per worker", "PER WORKER: open ones that came in here, with this one; the least has it", score}
	case spec.PolicyRandom:
		return compared{">SCORE", "score", "SCORE: drawn anew for each connection; the least has it", score}
	case spec.PolicyHash:
		return compared{">SCORE", "score", "SCORE: of the client's address and the node's name; the least has it", score}
	}
	return compared{">EXPECTED", "expected", "", func(c api.Candidate) string { return figureTime(c.Expected) }}
}

func explanationText(e api.Explanation) string {
	var b strings.Builder
	by, d := comparedBy(e.Policy), e.Next
	fmt.Fprintf(&b, "%s on %s, policy %s\n\n", e.App, e.Node, e.Policy)
	b.WriteString(wrapped("the next connection goes "+placedText(d)+": "+d.Reason, 2))
	if spec.Policy(e.Policy) == spec.PolicyHash && d.Client == "" {
		b.WriteString("(of a client without an address; name one: -client 10.1.2.3)\n")
	}
	b.WriteString("\n" + consideredTable(d, by) + "\n" + wrapped(marginsText(e, by), 0))
	if e.Direct > 0 {
		b.WriteString(wrapped(plural(e.Direct, "connection")+" accepted by workers themselves are open here: while there is room for more here, nothing is decided about them", 0))
	}
	for _, h := range e.Hung {
		b.WriteString(wrapped(fmt.Sprintf("worker %s here hangs for %s, and is asked only where nobody else can be: %s", h.Worker, figureTime(h.For), h.Reason), 0))
	}
	if len(e.Last) > 0 {
		b.WriteString("\nthe last ones, the newest first, times in UTC; in brackets how old a report was:\n")
	}
	for _, d := range e.Last {
		at := d.Time.Format("  15:04:05.000  ")
		text := strings.TrimSpace(d.Client+" went "+placedText(d)) + ": " + d.Reason
		b.WriteString(wrapped(at+text, utf8.RuneCountInString(at)))
		if text := comparedText(d, comparedBy(d.Policy)); text != "" {
			b.WriteString(wrapped(strings.Repeat(" ", len(at))+text, utf8.RuneCountInString(at)))
		}
	}
	return b.String()
}

// consideredTable is the figures of all nodes; the one that has the connection is marked.
func consideredTable(d api.Decision, by compared) string {
	t := newTable("NODE", "STATE", ">WORKERS", ">OPEN", ">LONG", ">FREE", ">SERVICE", by.column, ">AGE")
	for _, c := range d.Considered {
		free, figure, state := "-", "-", stateText(c)
		if c.Here && d.Kind == api.PlacedHere || d.Kind == api.PlacedThere && c.Node == d.Target {
			state = "has it"
		}
		if c.Free >= 0 {
			free = fmt.Sprint(c.Free)
		}
		if c.Compared || by.meant == "" {
			figure = by.figure(c)
		}
		if c.Workers == 0 {
			t.row(nodeText(c), state, "0", "-", "-", "-", "-", "-", ageText(c))
			continue
		}
		t.row(nodeText(c), state, decimal(c.Workers), decimal(c.Open), decimal(c.Long), free, measuredText(c.Service), figure, ageText(c))
	}
	return t.String()
}

// marginsText says what the figures of the table mean, and what is added to them.
func marginsText(e api.Explanation, by compared) string {
	d, text := e.Next, by.meant
	if text == "" {
		text = fmt.Sprintf("median service %s, the way to another node %s, margin %s", figureTime(d.Median), figureTime(d.Hop), figureTime(d.Margin))
		for _, c := range d.Considered {
			if c.OtherZ {
				text += fmt.Sprintf(", to another zone %s more", figureTime(d.ZoneMargin))
				break
			}
		}
	}
	if d.Waiting > 0 {
		text += fmt.Sprintf("; %d waiting here", d.Waiting)
	}
	return text
}

// placedText says where a connection goes, or went.
func placedText(d api.Decision) string {
	switch d.Kind {
	case api.PlacedHere:
		worker, _, _ := strings.Cut(d.Target, "#")
		return "to worker " + worker + " here"
	case api.PlacedThere:
		return "to " + d.Target
	}
	return "nowhere yet"
}

// comparedText lists what was compared about a past connection. Where there was nothing to choose from it says nothing.
func comparedText(d api.Decision, by compared) string {
	var parts []string
	for _, c := range d.Considered {
		name, old := c.Node, " ("+ageText(c)+")"
		if c.Here {
			name, old = "here", ""
		}
		switch {
		case c.State != "free":
			parts = append(parts, name+" "+c.State)
		case len(d.Considered) > 1:
			parts = append(parts, name+" "+by.figure(c)+old)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return by.short + ": " + strings.Join(parts, ", ")
}

func nodeText(c api.Candidate) string {
	if c.Here {
		return c.Node + " (here)"
	}
	return c.Node
}

func stateText(c api.Candidate) string {
	text := c.State
	if c.Compared && text == "free" {
		text = "compared"
	}
	if c.Ejected > 0 {
		text += " for " + figureTime(c.Ejected)
	}
	if c.OtherZ {
		text += ", other zone"
	}
	return text
}

func ageText(c api.Candidate) string {
	if c.Here {
		return "-"
	}
	age := time.Duration(c.Age * float64(time.Second))
	if age > time.Minute {
		return humanDuration(c.Age)
	}
	return age.Round(time.Millisecond).String()
}

func measuredText(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return figureTime(seconds)
}

func decimal(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

// figureTime shows a time of microseconds to minutes in three or four digits.
func figureTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// screen is how wide a text may be (columns).
const screen = 80

// wrapped breaks a text between words so that it fits the screen; all lines but the first begin with so many spaces. A line end is added.
func wrapped(text string, indent int) string {
	var b strings.Builder
	text = strings.TrimRight(text, " ")
	for utf8.RuneCountInString(text) > screen {
		at := strings.LastIndexByte(string([]rune(text)[:screen+1]), ' ')
		if at <= indent {
			break
		}
		b.WriteString(text[:at] + "\n")
		text = strings.Repeat(" ", indent) + strings.TrimLeft(text[at:], " ")
	}
	return b.String() + text + "\n"
}
