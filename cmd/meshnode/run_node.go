package main

import (
	"context"

	"meshnode/node"
	"meshnode/node/config"
	"meshnode/node/supervisor"
)

// runNode runs the node until ctx ends. The calling goroutine must be locked to the main thread: workers are forked on it.
func runNode(ctx context.Context, s config.Settings, o nodeOptions) error {
	spawner := supervisor.NewSpawner()
	done := make(chan error, 1)
	go func() {
		defer spawner.Close()
		done <- node.Run(ctx, s, node.RunOptions{Out: o.out, Version: o.version, App: o.app, Spawner: spawner})
	}()
	spawner.Run()
	return <-done
}

// newKey returns a new cluster key in its text form.
func newKey() (string, error) { return node.NewKey() }
