package fsm

import (
	"errors"
	"fmt"
	"maps"

	"meshnode/store/spec"
)

// Set changes settings of the cluster, all of them or none.
type Set struct {
	// Values are the new ones, by key; "" goes back to the default.
	Values map[string]string `json:"values"`
}

// normal returns the command with the values as they are kept.
func (s *Set) normal() (*Set, error) {
	if len(s.Values) == 0 {
		return nil, errors.New("values: none")
	}
	out := &Set{Values: make(map[string]string, len(s.Values))}
	var problems []error
	for key, value := range s.Values {
		v, err := spec.NormalSetting(key, value)
		problems = append(problems, err)
		out.Values[key] = v
	}
	return out, errors.Join(problems...)
}

// set does not judge the values: a newer release may have proposed them.
func set(next *spec.Cluster, s *Set) error {
	settings := maps.Clone(next.Settings)
	if settings == nil {
		settings = make(map[string]string)
	}
	for key, value := range s.Values {
		if settings[key] = value; value == "" {
			delete(settings, key)
		}
	}
	if len(settings) > spec.MaxSettings {
		return fmt.Errorf("%w settings: at most %d", ErrTooMany, spec.MaxSettings)
	}
	if next.Settings = settings; len(settings) == 0 {
		next.Settings = nil
	}
	return nil
}
