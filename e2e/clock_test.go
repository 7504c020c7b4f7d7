package e2e

import (
	"strings"

	"meshnode/node/api"
)

// warningWith is the first warning that contains a text.
func warningWith(s api.Status, text string) string {
	for _, w := range s.Warnings {
		if strings.Contains(w.What, text) {
			return w.What
		}
	}
	return ""
}
