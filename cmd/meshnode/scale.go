package main

import (
	"context"
	"flag"
	"strconv"
	"strings"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func scaleVerb() verb {
	return verb{
		name: "scale", args: "<app|namespace|/regex/>|all <n>|+<n>|-<n>|max", brief: "set how many workers an app has on every node",
		more:     []string{"max is one worker per usable core."},
		examples: []string{"meshnode scale api 4", "meshnode scale api +2", "meshnode scale api max"},
		declare: func(fs *flag.FlagSet) action {
			f := declareChange(fs)
			return func(ctx context.Context, c *console, in input) error {
				args := append(in.args, in.after...)
				if len(args) != 2 {
					return usagef("give an app and a number of workers: meshnode scale api 4")
				}
				workers, err := parseScale(args[1])
				if err != nil {
					return err
				}
				return changeNamed(f, &fileFlags{}, change{
					do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
						return client.Scale(ctx, name, workers)
					},
					done: running,
					any:  true,
				})(ctx, c, input{args: args[:1]})
			}
		},
	}
}

// parseScale checks a number of workers and returns its plain form.
func parseScale(word string) (string, error) {
	if strings.EqualFold(word, "max") {
		return "max", nil
	}
	n, err := strconv.Atoi(word)
	relative := strings.HasPrefix(word, "+") || strings.HasPrefix(word, "-")
	switch {
	case err != nil:
		return "", usagef("%q is no number of workers; give one like 4, +2, -2 or max", word)
	case n > spec.MaxWorkers || n < -spec.MaxWorkers:
		return "", usagef("%s is more than %d workers on a node", word, spec.MaxWorkers)
	case n == 0 && relative:
		return "", usagef("%q changes nothing; give one like +2", word)
	case n == 0:
		return "", usagef("an app with 0 workers is a stopped one: meshnode stop")
	case relative && n > 0:
		return "+" + strconv.Itoa(n), nil
	}
	return strconv.Itoa(n), nil
}
