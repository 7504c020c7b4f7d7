package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	// SealedPrefix begins the text of a sealed value. What follows is for those to read who have the key.
	SealedPrefix = "sealed:"
	// Masked stands for the value of a secret variable wherever one is shown. Given as a value, it stands for the one that there is.
	Masked = "(secret)"
	// Unseen stands for the value of a variable that its reader may not see.
	Unseen = "(hidden)"
)

// Sealed reports whether every secret value of a is sealed, as it must be in the configuration.
func (a App) Sealed() bool {
	for _, value := range a.Process.SecretEnv {
		if !strings.HasPrefix(value, SealedPrefix) {
			return false
		}
	}
	return true
}

// Masked returns a copy of a whose secret values cannot be told.
func (a App) Masked() App {
	a.Process.SecretEnv = replaced(a.Process.SecretEnv, Masked)
	return a
}

// Viewed returns a copy of a for those who may see the value of no variable at all.
func (a App) Viewed() App {
	a.Env = replaced(a.Env, Unseen)
	return a
}

// replaced returns a copy of variables that all have one value.
func replaced(variables map[string]string, value string) map[string]string {
	variables = maps.Clone(variables)
	for name := range variables {
		variables[name] = value
	}
	return variables
}

func (a App) validateSecrets() error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(a.Process.SecretEnv)) {
		_, twice := a.Env[name]
		switch {
		case name == "" || strings.Contains(name, "=") || !passable(name):
			problems = append(problems, fmt.Errorf("secret_env: %q cannot be the name of a variable", clip(name)))
		case twice:
			problems = append(problems, fmt.Errorf("secret_env: %s stands in env too, where anybody can read it", clip(name)))
		case !passable(a.Process.SecretEnv[name]):
			problems = append(problems, fmt.Errorf("secret_env: the value of %s holds a zero byte or is not UTF-8", clip(name)))
		}
	}
	return errors.Join(problems...)
}
