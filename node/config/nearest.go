package config

import "strings"

// Nearest returns the candidate that word was most likely meant to be, or "" when none is close. Candidates that word
// begins are close (at least three letters); otherwise up to one slip in three letters counts and never more than three, where a slip is a letter
// too many, too few, wrong, or swapped with its neighbour. Case does not matter. The first of equally close ones wins.
func Nearest(word string, candidates []string) string {
	const longest = 256 // names an operator types are short; a pasted blob is no typing mistake
	lower := strings.ToLower(word)
	if lower == "" || len(lower) > longest {
		return ""
	}
	limit := min(3, 1+(len(lower)-1)/3)
	best, bestSlips := "", limit+1
	prefixed := ""
	for _, c := range candidates {
		if len(c) > longest {
			continue
		}
		other := strings.ToLower(c)
		if n := slips(lower, other); n < bestSlips && n < max(len(lower), len(other)) {
			best, bestSlips = c, n
		}
		if prefixed == "" && len(lower) >= 3 && strings.HasPrefix(other, lower) {
			prefixed = c
		}
	}
	if bestSlips > 1 && prefixed != "" {
		return prefixed
	}
	return best
}

// slips is the optimal string alignment distance of a and b.
func slips(a, b string) int {
	var before, prev, cur = make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
