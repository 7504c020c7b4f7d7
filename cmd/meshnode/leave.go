package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"meshnode/node/api"
)

func leaveVerb() verb {
	return verb{
		name: "leave", brief: "take this server out of the cluster and stop its node",
		more: []string{
			"The other servers stop sending connections here, open ones may finish, and the node ends.",
			"To come back, start the node again with -join.",
		},
		examples: []string{"meshnode leave"},
		declare: func(fs *flag.FlagSet) action {
			f := declareChange(fs)
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				return f.with(c, func(client *api.Client) error { return f.leave(ctx, c, client) })
			}
		},
	}
}

// left is the answer of leave -json.
type left struct {
	Left    bool `json:"left"`
	Stopped bool `json:"stopped"` // the node has ended
}

func (f *changeFlags) leave(ctx context.Context, c *console, client *api.Client) error {
	if err := client.Leave(ctx); err != nil {
		return err
	}
	if !f.detach {
		c.say("this server has left the cluster; its open connections may finish now")
		if err := f.waitEnd(ctx, c, client); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		return c.printJSON(left{Left: true, Stopped: !f.detach})
	case f.detach:
		return c.print("this server has left the cluster; its node ends when its connections are done")
	default:
		return c.print("this server has left the cluster and its node has ended")
	}
}

// waitEnd returns when the node does not answer any more.
func (f *changeFlags) waitEnd(ctx context.Context, c *console, client *api.Client) error {
	bounded, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	for {
		_, err := client.Status(bounded)
		var dial *dialError
		if errors.As(err, &dial) && bounded.Err() == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			return errors.New("not waiting any longer; the node ends when its connections are done")
		}
	}
}
