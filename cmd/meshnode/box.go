package main

import (
	"strings"
	"unicode/utf8"
)

// box is a table in a frame, as PM2's users know it.
type box struct {
	colour bool
	head   []string
	right  []bool
	lines  [][]string
}

// newBox returns a box with a head. A ">" before a word of it sets that column to the right.
func newBox(colour bool, head ...string) *box {
	b := &box{colour: colour}
	for _, word := range head {
		name, right := strings.CutPrefix(word, ">")
		b.head, b.right = append(b.head, name), append(b.right, right)
	}
	return b
}

func (b *box) row(cells ...string) { b.lines = append(b.lines, cells) }

// String draws the box, with a line end behind every line.
func (b *box) String() string {
	width := make([]int, len(b.head))
	for _, line := range append([][]string{b.head}, b.lines...) {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	rule := func(left, cross, right string) {
		parts := make([]string, len(width))
		for i, w := range width {
			parts[i] = strings.Repeat("─", w+2)
		}
		out.WriteString(left + strings.Join(parts, cross) + right + "\n")
	}
	rule("┌", "┬", "┐")
	out.WriteString(b.line(b.head, width, func(string) string { return bold }))
	rule("├", "┼", "┤")
	for _, line := range b.lines {
		out.WriteString(b.line(line, width, colourOf))
	}
	rule("└", "┴", "┘")
	return out.String()
}

func (b *box) line(cells []string, width []int, colour func(cell string) string) string {
	var out strings.Builder
	for i, cell := range cells {
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		shown := cell
		if code := colour(cell); b.colour && code != "" {
			shown = code + cell + plain
		}
		if b.right[i] {
			shown = pad + shown
		} else {
			shown += pad
		}
		out.WriteString("│ " + shown + " ")
	}
	out.WriteString("│\n")
	return out.String()
}

// Colours of a terminal.
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1;36m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
)

// colourOf is the colour of a worker's status, "" for all other cells.
func colourOf(cell string) string {
	switch cell {
	case "ready":
		return green
	case "starting", "draining", "stopping", "backoff":
		return yellow
	case "failed", "stopped":
		return red
	}
	return ""
}
