package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// runAlone runs the app that writes lines as many times as it would have workers, with nobody in between.
func runAlone(ctx context.Context, j job, r *result) error {
	a, err := j.lineApp()
	if err != nil {
		return err
	}
	env := append(os.Environ(), "ALONE=1", "APP_PORT=0", "GO="+a.Env["GO"], "RESULT="+a.Env["RESULT"], "LINES="+a.Env["LINES"])
	ctx, cancel := context.WithTimeout(ctx, logLimit)
	defer cancel()
	var all []*exec.Cmd
	for range a.Workers {
		c := exec.CommandContext(ctx, "node", a.Script)
		if j.Contender == aloneCat {
			c = exec.CommandContext(ctx, "sh", "-c", `node "$1" | cat >/dev/null`, "sh", a.Script)
		}
		c.Env = env // no output given is /dev/null
		if err := c.Start(); err != nil {
			return err
		}
		all = append(all, c)
	}
	time.Sleep(time.Second) // both run
	err = j.written(a, r, func() {})
	if err != nil {
		cancel()
	}
	for _, c := range all {
		err = errors.Join(err, c.Wait())
	}
	return err
}
