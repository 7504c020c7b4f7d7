package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
)

func working(node string, ready, want int) api.NodeProgress {
	return api.NodeProgress{Node: node, Ready: ready, Want: want, Release: 2, State: api.StateWorking}
}

func done(node string, n int) api.NodeProgress {
	return api.NodeProgress{Node: node, Ready: n, Want: n, Release: 3, State: api.StateDone}
}

func TestChanges(t *testing.T) {
	for _, c := range []struct{ line, asked, out string }{
		{"reload api", "reload api", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"restart api", "reload api stop-first", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"scale api 4", "scale api 4", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"scale api +2", "scale api +2", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"scale api -2", "scale api -2", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"scale api MAX", "scale api max", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"rollback api", "rollback api 0", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"rollback api 2", "rollback api 2", "api: release 3 runs, 8 of 8 workers ready on 1 node\n"},
		{"stop api", "stop api", "api: stopped; start it again with: meshnode start api\n"},
		{"rm api", "delete api", "api: deleted\n"},
		{"del -detach api", "delete api", "api: the change is on its way; look with: meshnode describe api\n"},
	} {
		f := &fakeNode{progress: []api.Progress{{Done: true, Nodes: []api.NodeProgress{done("a", 8)}}}}
		term := online(t, f)
		progress := "api on a: done, 8 of 8 workers ready\n"
		if strings.Contains(c.line, "-detach") {
			progress = ""
		}
		term.expect(t, c.line, exitDone, c.out, progress)
		if d := cmp.Diff([]string{c.asked}, f.asked); d != "" {
			t.Errorf("%s: asked %s", c.line, d)
		}
	}
}

func TestProgressIsShownOncePerStep(t *testing.T) {
	f := &fakeNode{progress: []api.Progress{
		{Nodes: []api.NodeProgress{working("a", 0, 2), working("b", 0, 1)}},
		{Nodes: []api.NodeProgress{working("a", 0, 2), working("b", 0, 1)}},
		{Nodes: []api.NodeProgress{working("a", 1, 2), done("b", 1)}},
		{Done: true, Nodes: []api.NodeProgress{done("a", 2), done("b", 1)}},
	}}
	online(t, f).expect(t, "reload api", exitDone, "api: release 3 runs, 3 of 3 workers ready on 2 nodes\n", strings.Join([]string{
		"api on a: 0 of 2 workers ready", "api on b: 0 of 1 worker ready", "api on a: 1 of 2 workers ready", "api on b: done, 1 of 1 worker ready",
		"api on a: done, 2 of 2 workers ready", "",
	}, "\n"))
}

func TestStopShowsDraining(t *testing.T) {
	f := &fakeNode{progress: []api.Progress{
		{Nodes: []api.NodeProgress{working("a", 0, 0)}},
		{Done: true, Nodes: []api.NodeProgress{done("a", 0)}},
	}}
	online(t, f).expect(t, "stop api", exitDone, "api: stopped; start it again with: meshnode start api\n",
		"api on a: its workers finish their connections and stop\napi on a: done, no worker runs\n")
}

func TestBadEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		node    api.NodeProgress
		code    int
		outcome string
		says    string
	}{
		{"rolled back", api.NodeProgress{Node: "b", Want: 1, Release: 2, State: api.StateFailed, Error: "not ready within 30s"}, exitRefused, outcomeRolledBack,
			"api on b: failed: not ready within 30s\nmeshnode: api: release 3 is refused, release 2 goes on (b: not ready within 30s)\n"},
		{"nothing runs", api.NodeProgress{Node: "b", Want: 1, State: api.StateFailed, Error: "exit code 1"}, exitFailed, outcomeFailed,
			"api on b: failed: exit code 1\nmeshnode: api: does not run (b: exit code 1); look with: meshnode logs api\n"},
		{"no reason", api.NodeProgress{Node: "b", Release: 3, State: api.StateFailed}, exitFailed, outcomeFailed,
			"api on b: failed: no reason is known; look with: meshnode logs\nmeshnode: api: does not run (b: no reason is known; look with: meshnode logs); look with: meshnode logs api\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			term := online(t, &fakeNode{progress: []api.Progress{{Done: true, Nodes: []api.NodeProgress{c.node}}}})
			term.expect(t, "reload api", c.code, "", c.says)
			term.run(t, "reload api -json")
			var got []outcome
			if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Outcome != c.outcome || got[0].Error == "" {
				t.Errorf("%v %+v", err, got)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err     *api.Error
		code    int
		outcome string
	}{
		{api.Errorf(api.CodeNoQuorum, "bring back web-2", "there is no quorum"), exitRefused, outcomeRefused},
		{api.Errorf(api.CodeConflict, "try again", "api has changed in between"), exitRefused, outcomeRefused},
		{api.Errorf(api.CodeInvalid, "", "that is too much"), exitRefused, outcomeRefused},
		{api.Errorf(api.CodeNotFound, "", "there is no app \"api\""), exitFailed, outcomeFailed},
		{api.Errorf(api.CodeUnavailable, "try again", "this node is stopping"), exitFailed, outcomeFailed},
		{api.Errorf(api.CodeNotLeader, "try again", "the leader is changing"), exitFailed, outcomeFailed},
		{api.Errorf(api.CodeFailed, "", "disk full"), exitFailed, outcomeFailed},
	} {
		term := online(t, &fakeNode{fail: c.err})
		term.expect(t, "scale api 4", c.code, "", "meshnode: "+c.err.Error()+"\n")
		term.run(t, "scale api 4 -json")
		var got []outcome
		if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Outcome != c.outcome || got[0].Error != c.err.Error() {
			t.Errorf("%v: %v %+v", c.err, err, got)
		}
	}
}

func TestAllAndMany(t *testing.T) {
	f := example()
	term := online(t, f)
	term.expect(t, "stop all", exitDone,
		"api: stopped; start it again with: meshnode start api\nmailer: stopped; start it again with: meshnode start mailer\n", "")
	term.run(t, "delete api mailer")
	if d := cmp.Diff([]string{"stop api", "stop mailer", "delete api", "delete mailer"}, f.asked); d != "" {
		t.Error(d)
	}
}

func TestChangeAsJSON(t *testing.T) {
	f := &fakeNode{progress: []api.Progress{{Done: true, Nodes: []api.NodeProgress{done("a", 2)}}}}
	term := online(t, f)
	term.run(t, "reload api -json")
	golden(t, "reload-json", term.out.String())
	term.run(t, "reload api -json -detach")
	golden(t, "reload-json-detach", term.out.String())
}

func TestWaitIsBounded(t *testing.T) {
	f := &fakeNode{progress: []api.Progress{{Nodes: []api.NodeProgress{working("a", 0, 2)}}}}
	online(t, f).expect(t, "reload api -wait 50ms", exitFailed, "", "api on a: 0 of 2 workers ready\n"+
		"meshnode: api: not done after 50ms, the change goes on; look with: meshnode describe api\n")
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fakeNode{progress: []api.Progress{{Nodes: []api.NodeProgress{working("a", 0, 2)}}}}
	f.looked = func() {
		if f.looks == 2 {
			cancel()
		}
	}
	term := online(t, f)
	if code := term.execute(ctx, []string{"reload", "api", "web"}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	want := "api on a: 0 of 2 workers ready\nmeshnode: api: not waiting any longer, the change goes on; look with: meshnode describe api\n"
	if d := cmp.Diff(want, term.errs.String()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"reload api"}, f.asked); d != "" {
		t.Error("went on with the next app: " + d)
	}
}

func TestNodeGoesAwayWhileWaiting(t *testing.T) {
	f := &fakeNode{}
	f.progress = []api.Progress{{Nodes: []api.NodeProgress{working("a", 0, 2)}}}
	w := &waiter{console: online(t, f).console, limit: 1e9}
	o, err := w.lost(outcome{App: "api"}, &dialError{path: "/s", err: context.DeadlineExceeded})
	want := "api: the change is made, but how far it is cannot be told: the node cannot be reached at /s: context deadline exceeded"
	if err.Error() != want || o.Outcome != outcomeFailed {
		t.Errorf("%v %+v", err, o)
	}
}

func TestParseScale(t *testing.T) {
	for word, want := range map[string]string{"4": "4", "+4": "+4", "-4": "-4", "max": "max", "Max": "max", "004": "4", "1024": "1024"} {
		if got, err := parseScale(word); got != want || err != nil {
			t.Errorf("%q: %q, %v", word, got, err)
		}
	}
	for _, word := range []string{"", "x", "4.5", "0", "-0", "+0", "1025", "-1025", "++1"} {
		if got, err := parseScale(word); err == nil {
			t.Errorf("%q: no error but %q", word, got)
		}
	}
}

func TestTheSameReasonIsSaidOnce(t *testing.T) {
	fails := func(node, why string) api.NodeProgress {
		return api.NodeProgress{Node: node, Want: 1, State: api.StateFailed, Error: why}
	}
	_, err := judge(outcome{App: "api", Nodes: []api.NodeProgress{fails("a", "no database"), fails("b", "no file"), fails("c", "no database")}})
	if want := "api: does not run (a, c: no database; b: no file); look with: meshnode logs api"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestRefusedRelease(t *testing.T) {
	waits := api.NodeProgress{Node: "b", Ready: 2, Want: 2, Release: 2, State: api.StateWaiting}
	back := api.NodeProgress{Node: "a", Ready: 2, Want: 2, Release: 2, State: api.StateDone}
	refusal := &api.Refusal{Release: 3, Kept: 2, Node: "a", Reason: "exited with code 1", Tail: []string{"Error: boom", "    at main"}}
	steps := []api.Progress{
		{Nodes: []api.NodeProgress{working("a", 1, 2), waits}},
		{Refused: refusal, Nodes: []api.NodeProgress{working("a", 1, 2)}},
		{Refused: refusal, Done: true, Nodes: []api.NodeProgress{back}},
	}
	term := online(t, &fakeNode{progress: steps})
	term.expect(t, "reload api", exitRefused, "", strings.Join([]string{
		"api on a: 1 of 2 workers ready", "api on a: release 2, 1 of 2 workers ready", "api on a: release 2, done, 2 of 2 workers ready",
		"the last lines of its worker on a:", "  Error: boom", "      at main",
		"meshnode: api: release 3 is refused, release 2 goes on everywhere (a: exited with code 1)", "",
	}, "\n"))
	term = online(t, &fakeNode{progress: steps[2:]})
	term.run(t, "reload api -json")
	var got []outcome
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || got[0].Outcome != outcomeRolledBack || cmp.Diff(refusal, got[0].Refused) != "" {
		t.Errorf("%v %+v", err, got)
	}
	// What was there before may not start again: its files are not kept.
	stuck := api.NodeProgress{Node: "a", Want: 2, Release: 3, State: api.StateFailed, Error: "no file"}
	_, err := judge(outcome{App: "api", Release: 3, Refused: refusal, Nodes: []api.NodeProgress{stuck}})
	want := "api: release 3 is refused (a: exited with code 1), and release 2 does not start again (a: no file); look with: meshnode describe api"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestScaleDoesNotWaitForARollout(t *testing.T) {
	f := &fakeNode{progress: []api.Progress{{Done: true, Nodes: []api.NodeProgress{done("a", 2)}}}}
	term := online(t, f)
	term.run(t, "scale api 2")
	term.run(t, "reload api")
	if d := cmp.Diff([]uint64{0, 3}, f.waited); d != "" {
		t.Errorf("releases waited for (-want +got):\n%s", d)
	}
}
