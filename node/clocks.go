package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"meshnode/node/api"
)

// clocksApart is how far the clocks of two servers may be apart before that is worth a word: what is asked of a server may take half a second.
const clocksApart = 2 * time.Second

// atOnce has the clocks in all answers show one moment, this one.
func atOnce(all map[string]api.LocalStatus, said map[string]time.Time) {
	for node, l := range all {
		if !l.Time.IsZero() {
			l.Time = l.Time.Add(time.Since(said[node]))
			all[node] = l
		}
	}
}

// clockWarnings says whose clock is wrong. Nobody here knows what time it is: where most agree, the others are wrong.
func clockWarnings(all map[string]api.LocalStatus) []api.Warning {
	var shown []time.Time
	var nodes []string
	for _, node := range slices.Sorted(maps.Keys(all)) {
		if t := all[node].Time; !t.IsZero() {
			shown, nodes = append(shown, t), append(nodes, node)
		}
	}
	if len(nodes) < 2 {
		return nil
	}
	sorted := slices.SortedFunc(slices.Values(shown), time.Time.Compare)
	middle := sorted[(len(sorted)-1)/2]
	var wrong []api.Warning
	for i, t := range shown {
		if off := wall(t).Sub(wall(middle)); off.Abs() > clocksApart {
			wrong = append(wrong, clockWarning(fmt.Sprintf("the clock of %s is %s", nodes[i], offOthers(off))))
		}
	}
	if 2*len(wrong) >= len(nodes) {
		apart := wall(sorted[len(sorted)-1]).Sub(wall(sorted[0]))
		return []api.Warning{clockWarning(fmt.Sprintf("the clocks of %s are up to %s apart", strings.Join(nodes, ", "), inWords(apart)))}
	}
	return wrong
}

// wall is a time without what this process has measured: two clocks are compared, and no time that has passed.
func wall(t time.Time) time.Time { return t.Round(0) }

func clockWarning(what string) api.Warning {
	return api.Warning{What: what, Remedy: "set it, and have it kept (chronyd, systemd-timesyncd); traffic goes on, but times in logs are wrong, cron_restart comes at other times, " +
		"and that server judges the ends of operators' certificates and join tokens by it"}
}

func offOthers(off time.Duration) string {
	if off < 0 {
		return inWords(-off) + " behind the others'"
	}
	return inWords(off) + " ahead of the others'"
}

// inWords is a duration to be read; nobody counts the hours of ten years.
func inWords(d time.Duration) string {
	const day = 24 * time.Hour
	if d = d.Round(time.Second); d < 2*day {
		return d.String()
	}
	return fmt.Sprintf("%d days", d.Round(day)/day)
}
