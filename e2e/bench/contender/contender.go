package contender

import (
	"context"
	"fmt"
	"time"
)

// Contender is something that runs an app's workers and shares connections among them.
type Contender interface {
	// Name is how tables name it.
	Name() string
	// Version is what it says of its version.
	Version(ctx context.Context) (string, error)
	// Open starts it, with no app yet.
	Open(ctx context.Context) error
	// Do has it do something to the app. An outcome with another exit code than 0 is no error.
	Do(ctx context.Context, a Action) (Outcome, error)
	// Processes are those that run now.
	Processes() (Processes, error)
	// Close ends it and everything it started.
	Close() error
}

// Verb is what a contender may be told to do.
type Verb string

// The verbs.
const (
	Start    Verb = "start"
	Reload   Verb = "reload"
	Restart  Verb = "restart"
	Scale    Verb = "scale"
	Rollback Verb = "rollback"
	Upgrade  Verb = "upgrade"
)

// Action is a verb with what it needs.
type Action struct {
	Verb Verb
	App  App
}

// App is the workload.
type App struct {
	Name      string
	Script    string   // Script is its absolute path.
	Args      []string // Args are handed to it.
	Workers   int
	Env       map[string]string
	MaxMemory string        // MaxMemory is such as "150M": a worker that needs more is replaced.
	Cron      string        // Cron is when its workers are replaced, with seconds.
	Extra     []string      // Extra are flags of meshnode's start, for what the benchmark measures of it alone.
	Limit     time.Duration // Limit is the longest a command may take; 0 = a minute.
}

// needsFile reports whether the app has keys that only an app file can hold.
func (a App) needsFile() bool { return a.MaxMemory != "" || a.Cron != "" }

// Outcome is how a command ended.
type Outcome struct {
	Code   int
	Output string
	Took   time.Duration
}

// Err is an error if the command did not succeed.
func (o Outcome) Err(what string) error {
	if o.Code == 0 {
		return nil
	}
	return fmt.Errorf("%s: exit %d: %s", what, o.Code, Last(o.Output, 600))
}

// Processes are the parts of a contender.
type Processes struct {
	Own     []int // Own are its own processes; the first one does the work.
	Workers []int // Workers are those of the apps.
}
