package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	requests = 600 // sent in one round (count)
	parallel = 24  // under way at a time (count)
)

// flood sends the requests, each on a connection of its own, and returns how many each worker answered. The error is that of none being
// answered.
func flood(ctx context.Context, door string) (answers map[string]int, failed int, err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	answers = make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for range requests {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			who, aerr := ask(ctx, client, door)
			mu.Lock()
			defer mu.Unlock()
			if aerr != nil {
				failed++
				err = aerr
				return
			}
			answers[who]++
		})
	}
	wg.Wait()
	if len(answers) > 0 {
		err = nil
	}
	return answers, failed, err
}

// ask sends one request and returns the worker that answered: "hello from s1/0 (pid 42)" is s1/0.
func ask(ctx context.Context, client *http.Client, door string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, door, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1024))
	if err != nil {
		return "", err
	}
	words := strings.Fields(string(raw))
	if res.StatusCode != http.StatusOK || len(words) < 3 {
		return "", fmt.Errorf("%s answers %q", door, raw)
	}
	return words[2], nil
}

// printTable shows where the requests went.
func printTable(out io.Writer, answers map[string]int, failed int) {
	say(out, "  worker  answers")
	for _, who := range slices.Sorted(maps.Keys(answers)) {
		say(out, "  %-6s  %7d  %s", who, answers[who], strings.Repeat("#", (answers[who]*120+requests-1)/requests))
	}
	say(out, "  failed  %7d", failed)
}
