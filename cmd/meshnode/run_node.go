package main

import (
	"context"
	"fmt"
	"os"

	"meshnode/node"
	"meshnode/node/config"
	"meshnode/node/supervisor/keeper"
	"meshnode/node/telemetry"
	"meshnode/store/spec"
)

// runNode runs the node until ctx ends. The process that was started becomes the node's keeper, and runs the node as a child: this same
// program with the same arguments. The keeper needs the settings alone. The caller is locked to the main thread, on which the keeper forks.
func runNode(ctx context.Context, s config.Settings, o nodeOptions) error {
	if env := os.Environ(); !keeper.IsNode(env) {
		log := telemetry.NewLogger(os.Stderr, s.LogLevel, s.LogJSON)
		if code := keeper.Main(ctx, keeper.Options{Args: os.Args, Env: env, Logger: log}); code != exitDone {
			return quiet{code}
		}
		return nil
	}
	client, err := keeper.Connect(os.Environ())
	if err != nil {
		return fmt.Errorf("reach the node's keeper: %w", err)
	}
	defer client.Close()
	run := node.RunOptions{Out: o.out, Version: o.version, Keeper: client}
	if run.App, err = appToPut(ctx, o, client); err != nil {
		return err
	}
	return node.Run(ctx, s, run)
}

// appToPut is the app of the command line, unless it was put on the cluster before.
func appToPut(ctx context.Context, o nodeOptions, client *keeper.Client) (*spec.App, error) {
	if o.app == nil {
		return nil, nil
	}
	done, err := client.Holds(node.KeptApp)
	if err != nil {
		return nil, fmt.Errorf("ask the node's keeper: %w", err)
	}
	if done {
		return nil, nil
	}
	return o.app(ctx)
}

// readSnapshot returns the configuration that is in the bytes of a snapshot.
func readSnapshot(b []byte) (*spec.Cluster, error) { return node.ReadSnapshot(b) }

// newKey returns a new cluster key in its text form.
func newKey() (string, error) { return node.NewKey() }
