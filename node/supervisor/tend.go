package supervisor

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Signal sends a signal, such as "SIGUSR2", to the worker that serves in every slot of an app, "" = of all apps. It goes to the worker's own
// process. A worker that is ending is left alone.
func (s *Supervisor) Signal(app, name string) error {
	sig := unix.SignalNum(name)
	if sig == 0 {
		return fmt.Errorf("there is no signal %q", name)
	}
	var errs []error
	for _, p := range s.serving() {
		if app != "" && p.App != app {
			continue
		}
		if err := p.signal(sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("send %s to %s: %w", name, p.ID, err))
		}
	}
	return errors.Join(errs...)
}

// ResetRestarts counts the restarts of an app's workers from 0, "" = of all apps.
func (s *Supervisor) ResetRestarts(app string) {
	s.mu.Lock()
	var all []*slot
	for name, slots := range s.slots {
		for _, sl := range slots {
			if app == "" || name == app {
				all = append(all, sl)
			}
		}
	}
	s.mu.Unlock()
	for _, sl := range all {
		sl.publish(func(st *Status) { st.Restarts = 0 })
	}
}
