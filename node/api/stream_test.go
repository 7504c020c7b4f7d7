package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func twoLines() []LogLine {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []LogLine{
		{Time: at, Node: "a", App: "api", Worker: "0", Stream: StreamOut, Text: "<hello>\u2028"},
		{Time: at, Node: "b", App: "api", Worker: "1", Stream: StreamErr, Text: strings.Repeat("x", 100_000)},
	}
}

func collect(lines *[]LogLine) func(LogLine) error {
	return func(l LogLine) error { *lines = append(*lines, l); return nil }
}

func TestLogs(t *testing.T) {
	f := newFake()
	f.lines = twoLines()
	_, operator, _ := serve(t, f, true)
	_, peer, _ := serve(t, f, false)
	query := LogQuery{Apps: []string{"api", "web"}, Lines: 20, Stream: StreamErr, Worker: "3", Grep: "a+ b", Since: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	for name, ask := range map[string]func(context.Context, LogQuery, func(LogLine) error) error{"operator": operator.Logs, "peer": peer.LocalLogs} {
		var got []LogLine
		if err := ask(t.Context(), query, collect(&got)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(f.lines, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(query, asked(t, f)); d != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, d)
		}
	}
}

func TestLogsOfOneNode(t *testing.T) {
	f := newFake()
	f.lines = twoLines()
	_, client, _ := serve(t, f, true)
	var got []LogLine
	if err := client.Logs(t.Context(), LogQuery{Node: "b"}, collect(&got)); err != nil || len(got) != 1 || got[0].Node != "b" {
		t.Errorf("%v, %d lines", err, len(got))
	}
}

func TestFollowSendsAtOnceAndEndsWithTheClient(t *testing.T) {
	f := newFake()
	f.lines = twoLines()
	_, client, _ := serve(t, f, true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err := client.Logs(ctx, LogQuery{Follow: true}, func(LogLine) error {
		if n++; n == 2 {
			cancel()
		}
		return nil
	})
	if n != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d lines, %v", n, err)
	}
}

func TestEmitErrorIsReturned(t *testing.T) {
	f := newFake()
	f.lines = twoLines()
	_, client, _ := serve(t, f, true)
	full := errors.New("pipe is closed")
	if err := client.Logs(t.Context(), LogQuery{Follow: true}, func(LogLine) error { return full }); err != full {
		t.Errorf("got %v", err)
	}
}

func TestLogErrors(t *testing.T) {
	for _, lines := range [][]LogLine{nil, twoLines()} {
		for _, follow := range []bool{false, true} {
			f := newFake()
			f.lines, f.err = lines, Errorf(CodeNotFound, "look", "there is no app")
			_, client, _ := serve(t, f, true)
			var got []LogLine
			err := client.Logs(t.Context(), LogQuery{Follow: follow}, collect(&got))
			if CodeOf(err) != CodeNotFound || len(got) != len(lines) || err.Error() != "there is no app; look" {
				t.Errorf("follow %v: %v after %d lines", follow, err, len(got))
			}
		}
	}
}

func TestReadLinesRefusesJunk(t *testing.T) {
	for _, text := range []string{"junk\n", `{"text":"` + strings.Repeat("x", maxLine) + `"}`} {
		if err := readLines(strings.NewReader(text), func(LogLine) error { return nil }); err == nil {
			t.Errorf("%.20q: no error", text)
		}
	}
	if err := readLines(strings.NewReader("\n\n"), nil); err != nil {
		t.Error(err)
	}
}
