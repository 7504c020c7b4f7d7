package main

import (
	"flag"
	"fmt"
	"strconv"
	"strings"

	"meshnode/store/spec"
)

// policies are the words of -policy.
func policies() []string {
	return []string{string(spec.PolicyLeastLoad), string(spec.PolicyRoundRobin), string(spec.PolicyLeastConnections), string(spec.PolicyRandom), string(spec.PolicyHash)}
}

// declareBalance adds the flags that say how connections are spread over the workers.
func (f *appFlags) declareBalance(fs *flag.FlagSet) {
	b := &f.base.Balance
	fs.Var(parsedFlag[spec.Policy]{&b.Policy, parsePolicy}, "policy", "`policy` how connections are spread: least_load, round_robin, least_connections, random or hash (default least_load)")
	fs.Var(parsedFlag[int]{&b.Concurrency, parseCount}, "concurrency", "`n` connections that a worker serves at once, such as its threads (default 1: an event loop)")
	fs.Var(parsedFlag[int]{&b.MaxConnections, parseCount}, "max-connections", "`n` connections that a worker may have; more wait (default no limit)")
	fs.Var(parsedFlag[int]{&b.SoftLimit, parseCount}, "soft-limit", "`n` connections of a worker above which others are preferred (default -concurrency, else none)")
	fs.Var(parsedFlag[int]{&b.Queue, parseOrNone}, "queue", "`n` connections that wait on a server while all workers are full (default 1024, 0 for none)")
	fs.Var(secondsFlag{&b.QueueTimeout}, "queue-timeout", "`time` how long each of them waits before it is refused (default 5s)")
	fs.Var(secondsFlag{&b.SlowStart}, "slow-start", "`time` how long a new worker gets less than its share (default not at all)")
}

// parsePolicy takes dashes for underscores.
func parsePolicy(word string) (spec.Policy, error) {
	return spec.Policy(strings.ReplaceAll(strings.ToLower(word), "-", "_")), nil
}

// parseOrNone reads a count of which 0 is none, as spec has it: negative.
func parseOrNone(word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number from 0", word)
	}
	if n == 0 {
		n = -1
	}
	return n, nil
}
