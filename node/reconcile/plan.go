package reconcile

import (
	"cmp"
	"slices"
)

// Want is what one app should be on this node.
type Want struct {
	App     string
	Workers int // Workers is the number of workers on this node (count).
	Release uint64
	Stopped bool
}

// Have is what one slot of an app is on this node.
type Have struct {
	App       string
	Slot      int
	Release   uint64
	Replacing uint64 // Replacing is the release of the successor that is being started, 0 = none.
	Refused   uint64 // Refused is a release that did not come up here, 0 = none.
	Ready     bool
	Ending    bool // Ending is set while the slot is being emptied.
}

// Kind is the kind of a Step.
type Kind uint8

// The kinds of steps.
const (
	Start   Kind = iota + 1 // Start fills an empty slot.
	Replace                 // Replace brings a slot to the wanted release, in the order that the app asks for.
	Stop                    // Stop drains a slot and empties it.
)

// Step is one thing to do. Steps are idempotent: doing one twice changes nothing.
type Step struct {
	Kind Kind
	App  string
	Slot int
}

// Plan lists the steps from have to want: stops first, then replacements and starts. A rollout goes one slot at a time per app, and ends
// where a release was refused: the slots that serve stay as they are. Plan of a state that matches is empty.
func Plan(want []Want, have []Have) []Step {
	byApp := make(map[string][]Have)
	for _, h := range have {
		byApp[h.App] = append(byApp[h.App], h)
	}
	var steps []Step
	wanted := make(map[string]bool, len(want))
	for _, w := range want {
		wanted[w.App] = true
		slots := byApp[w.App]
		steps = append(steps, surplus(w, slots)...)
		if !w.Stopped {
			steps = append(steps, missing(w, slots)...)
			steps = append(steps, rollout(w, slots)...)
		}
	}
	for app, slots := range byApp {
		if !wanted[app] {
			steps = append(steps, surplus(Want{App: app, Stopped: true}, slots)...)
		}
	}
	slices.SortFunc(steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(b.Kind, a.Kind), cmp.Compare(a.App, b.App), cmp.Compare(a.Slot, b.Slot))
	})
	return steps
}

func surplus(w Want, slots []Have) []Step {
	var steps []Step
	for _, h := range slots {
		if !h.Ending && (w.Stopped || h.Slot >= w.Workers) {
			steps = append(steps, Step{Stop, w.App, h.Slot})
		}
	}
	return steps
}

func missing(w Want, slots []Have) []Step {
	filled := make(map[int]bool, len(slots))
	for _, h := range slots {
		filled[h.Slot] = true // an ending slot is filled until it is empty
	}
	var steps []Step
	for i := range w.Workers {
		if !filled[i] {
			steps = append(steps, Step{Start, w.App, i})
		}
	}
	return steps
}

// rollout returns the replacements that may begin now: at once every outdated slot that serves nobody, and of those that serve the
// first, if no replacement is under way. Where the release was refused there is none: an outdated slot that is down for the moment
// comes back with what is known to work.
func rollout(w Want, slots []Have) []Step {
	slices.SortFunc(slots, func(a, b Have) int { return cmp.Compare(a.Slot, b.Slot) })
	var steps []Step
	next, busy := -1, false
	for _, h := range slots {
		switch {
		case h.Ending || h.Slot >= w.Workers:
		case h.Refused == w.Release && h.Release != w.Release:
			return nil
		case h.Replacing == w.Release:
			busy = true
		case h.Release == w.Release && h.Replacing != 0: // the release that its successor is of was taken back
			steps = append(steps, Step{Replace, w.App, h.Slot})
			busy = true
		case h.Release == w.Release:
			busy = busy || !h.Ready
		case !h.Ready || h.Replacing != 0:
			steps = append(steps, Step{Replace, w.App, h.Slot})
			busy = true
		case next < 0:
			next = h.Slot
		}
	}
	if next >= 0 && !busy {
		steps = append(steps, Step{Replace, w.App, next})
	}
	return steps
}
