package fsm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/store/spec"
)

// Reseal puts other texts in the place of sealed values of an app and of its former releases. The values stay what they are, and so does the release:
// no process needs to be replaced.
type Reseal struct {
	App string `json:"app"`
	// Values are the new texts, by those that they take the place of. One that is nowhere any more is passed over.
	Values map[string]string `json:"values"`
}

func (r *Reseal) validate() error {
	if err := spec.ValidateName(r.App); err != nil {
		return err
	}
	if len(r.Values) == 0 {
		return errors.New("values: none")
	}
	for from, to := range r.Values {
		if !strings.HasPrefix(from, spec.SealedPrefix) || !strings.HasPrefix(to, spec.SealedPrefix) {
			return errors.New("values: one of them is not sealed")
		}
	}
	return nil
}

func reseal(next *spec.Cluster, r *Reseal) (*spec.App, error) {
	app, exists := next.Apps[r.App]
	if !exists {
		return nil, fmt.Errorf("app %s: %w", r.App, ErrNotFound)
	}
	if past := next.History[r.App]; len(past) > 0 {
		past = slices.Clone(past)
		for i := range past {
			past[i].App = r.applied(past[i].App)
		}
		next.History = maps.Clone(next.History)
		next.History[r.App] = past
	}
	return store(next, r.applied(app)), nil
}

// applied returns the app with the new texts.
func (r *Reseal) applied(app spec.App) spec.App {
	app.Process.SecretEnv = maps.Clone(app.Process.SecretEnv)
	for name, text := range app.Process.SecretEnv {
		if to, ok := r.Values[text]; ok {
			app.Process.SecretEnv[name] = to
		}
	}
	return app
}
