package main

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// table is lines of columns, two spaces apart.
type table struct {
	head  []string
	right []bool // columns set to the right, as numbers are
	lines [][]string
}

// newTable returns a table with a head. A ">" before a word of it sets that column to the right.
func newTable(head ...string) *table {
	t := &table{}
	for _, word := range head {
		name, right := strings.CutPrefix(word, ">")
		t.head = append(t.head, name)
		t.right = append(t.right, right)
	}
	return t
}

// row adds a line. An empty cell is shown as it is; use "-" for a value that is not there.
func (t *table) row(cells ...string) { t.lines = append(t.lines, cells) }

// String returns the table with a line end behind every line, or "" without a line.
func (t *table) String() string {
	if len(t.lines) == 0 {
		return ""
	}
	all := t.lines
	if t.head != nil {
		all = slices.Insert(slices.Clone(t.lines), 0, t.head)
	}
	var width []int
	for _, line := range all {
		for i, cell := range line {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range all {
		b.WriteString(strings.TrimRight(t.layout(line, width), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

func (t *table) layout(line []string, width []int) string {
	var b strings.Builder
	for i, cell := range line {
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
		if i > 0 {
			b.WriteString("  ")
		}
		if i < len(t.right) && t.right[i] {
			b.WriteString(pad + cell)
		} else {
			b.WriteString(cell + pad)
		}
	}
	return b.String()
}
