package main

import (
	"fmt"
	"strings"
)

const shown = 8 // failures of a run that are listed (count)

// failureList shows each run of meshnode in which something failed.
func failureList(results []result) string {
	var b strings.Builder
	for _, r := range results {
		if r.Load == nil || r.Load.Failed == 0 || r.Job.Contender != meshnode {
			continue
		}
		fmt.Fprintf(&b, "\n%s, %s, round %d: %d of %d", r.Job.Name, r.Job.Mode, r.Round+1, r.Load.Failed, r.Load.Sent)
		if len(r.Notes) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(r.Notes, "; "))
		}
		b.WriteString("\n\n")
		for i, f := range r.Load.Failures {
			if i == shown {
				fmt.Fprintf(&b, "* and more\n")
				break
			}
			fmt.Fprintf(&b, "* due %.3f s after the event, failed %.3f s later: %s, worker %d before, idle for %.3f s: %s\n", f.At, f.After, f.Class, f.PID, f.Idle, f.Error)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n### Every run of meshnode with a failure\n" + b.String()
}
