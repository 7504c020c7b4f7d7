package main

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// frameOf is a configuration as it stands in a snapshot.
func frameOf(t *testing.T, c spec.Cluster) []byte {
	t.Helper()
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	b := append([]byte{16, 3, 0, 0, 0, 0, 0, 0, 0, 0}, body...)
	binary.BigEndian.PutUint32(b[2:], uint32(len(body)))
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(b[6:], crc32.Update(crc32.Update(0, castagnoli, b[:6]), castagnoli, body))
	return b
}

// kept is a configuration with a secret in it.
func kept(id string) spec.Cluster {
	web := spec.App{Name: "web", Command: []string{"node", "web.js"}, Dir: "/srv", Workers: 2, Env: map[string]string{"PASSWORD": "tell-nobody"}}.WithDefaults()
	web.Standing = spec.Standing{Release: 7, Learned: []string{":3000"}, Since: 1772600767, Modified: 40}
	job := spec.App{Name: "job", Command: []string{"/bin/job"}, Dir: "/srv", Stopped: true}.WithDefaults()
	job.Release = 1
	return spec.Cluster{ID: id, Index: 42, Apps: map[string]spec.App{"web": web, "job": job}, Settings: map[string]string{"forward": "plain"}}
}

func TestSnapshotSave(t *testing.T) {
	f := &fakeNode{rescue: rescue{snapshot: api.Snapshot{Node: "web-1", Cluster: "c1", Index: 42, Current: true, State: frameOf(t, kept("c1"))}}}
	term := online(t, f)
	path := filepath.Join(term.dir, "b.snap")
	if code := term.run(t, "snapshot save b.snap"); code != exitDone || !strings.HasPrefix(term.out.String(), path+": the configuration of cluster c1 at index 42, ") || term.errs.Len() > 0 {
		t.Errorf("%d %s%s", code, term.out, term.errs)
	}
	info, err := os.Stat(path)
	if b, readErr := os.ReadFile(path); err != nil || readErr != nil || info.Mode().Perm() != 0o600 || string(b) != string(f.snapshot.State) {
		t.Errorf("%v %v %v", info.Mode(), err, readErr)
	}
	term.expect(t, "snapshot save b.snap", exitRefused, "", "meshnode: "+path+" is there already; name another, or replace it with -force\n")
	f.snapshot.Current = false
	if code := term.run(t, "snapshot save -force -json b.snap"); code != exitDone || !strings.Contains(term.errs.String(), "no majority answers; this is what web-1 knows") {
		t.Errorf("%d %s", code, term.errs)
	}
	var got saved
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || got.Current || got.Index != 42 || got.Bytes != len(f.snapshot.State) {
		t.Errorf("%v %+v", err, got)
	}
	if files, err := os.ReadDir(term.dir); err != nil || slices.ContainsFunc(files, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".b.snap") }) {
		t.Errorf("%v, %v: something is left behind", files, err)
	}
	term.expect(t, "snapshot keep b.snap", exitFailed, "", "meshnode: \"keep\": say save, inspect or restore, and name a file\nsee: meshnode help snapshot\n")
}

func TestSnapshotInspect(t *testing.T) {
	term := offline(t)
	path := filepath.Join(term.dir, "b.snap")
	good := frameOf(t, kept("c1"))
	write := func(b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(good)
	term.run(t, "snapshot inspect b.snap")
	for _, want := range []string{"cluster  c1\n", "index    42\n", "setting  forward=plain\n", "web  7        2026-03-04T05:06:07Z  2        :3000\n", "job  1        -                     stopped  -\n"} {
		if !strings.Contains(term.out.String(), want) {
			t.Errorf("%q is not in:\n%s", want, term.out)
		}
	}
	term.run(t, "snapshot inspect -json b.snap")
	var got inspected
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || got.Cluster != "c1" || len(got.Apps) != 2 || got.Apps[1].Release != 7 || got.Lost == nil {
		t.Errorf("%v %+v", err, got)
	}
	if strings.Contains(term.out.String(), "tell-nobody") {
		t.Error("a variable is shown")
	}
	bad := slices.Clone(good)
	bad[60] ^= 1
	newer := slices.Clone(good)
	newer[1] = 200
	binary.BigEndian.PutUint32(newer[6:], crc32.Update(crc32.Update(0, crc32.MakeTable(crc32.Castagnoli), newer[:6]), crc32.MakeTable(crc32.Castagnoli), newer[10:]))
	for want, b := range map[string][]byte{"checksum does not match": bad, "length says": good[:len(good)-1], "0 bytes are no frame": nil, "newer release of meshnode": newer} {
		write(b)
		if code := term.run(t, "snapshot inspect b.snap"); code != exitFailed || !strings.Contains(term.errs.String(), path+" cannot be used: ") || !strings.Contains(term.errs.String(), want) {
			t.Errorf("%d %s, want %s", code, term.errs, want)
		}
	}
}

func TestSnapshotRestore(t *testing.T) {
	have := kept("c2")
	have.Index = 99
	web := have.Apps["web"]
	web.Command, web.Modified = []string{"node", "newer.js"}, 77
	other := spec.App{Name: "other", Command: []string{"x"}, Dir: "/"}.WithDefaults()
	have.Apps = map[string]spec.App{"web": web, "other": other}
	have.Settings = map[string]string{"idle_timeout": "1h0m0s"}
	f := &fakeNode{rescue: rescue{snapshot: api.Snapshot{Current: true, State: frameOf(t, have)}}}
	term := online(t, f)
	if err := os.WriteFile(filepath.Join(term.dir, "b.snap"), frameOf(t, kept("c1")), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := strings.Join([]string{
		"This is a snapshot of another cluster, c1, at its index 42; this one is c2.",
		"job: is new",
		"  command  [\"/bin/job\"]",
		"  dir      \"/srv\"",
		"other: is deleted",
		"web: changes, and its workers are replaced",
		"  command  [\"node\",\"newer.js\"] -> [\"node\",\"web.js\"]",
		"setting forward: becomes plain",
		"setting idle_timeout: becomes its default",
		"",
	}, "\n")
	term.expect(t, "snapshot restore b.snap", exitRefused, "", plan+"Make it so? [y/N] \nmeshnode: nothing was changed\n")
	if len(f.asked) > 0 {
		t.Fatalf("asked %q", f.asked)
	}
	term.in = strings.NewReader("y\n")
	if code := term.run(t, "snapshot restore b.snap"); code != exitDone || !strings.Contains(term.out.String(), "other: deleted\n") || !strings.Contains(term.out.String(), "job: is known and stopped\n") {
		t.Errorf("%d %s%s", code, term.out, term.errs)
	}
	if want := []string{"set", "delete other", "start web", "start job"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
	// The change is based on what was seen, and brings the release's content, not its number.
	if r := f.started[0]; !r.Replace || r.App.Modified != 77 || r.App.Release != 0 || r.App.Env["PASSWORD"] != "tell-nobody" || f.started[1].Replace {
		t.Errorf("%+v", f.started)
	}
	f.snapshot.State = frameOf(t, kept("c1"))
	term.expect(t, "snapshot restore -yes b.snap", exitDone, "all is as in the file already\n",
		"This is a snapshot of this cluster at index 42; it is at 42 now.\njob: unchanged\nweb: unchanged\n")
	f.snapshot.Current = false
	term.expect(t, "snapshot restore -yes b.snap", exitRefused, "", "meshnode: nothing can be restored now: no majority of the voting servers answers; see: meshnode status\n")
}

// TestRestoringARollout takes what served in the place of what was on its way.
func TestRestoringARollout(t *testing.T) {
	from := kept("c1")
	old := from.Apps["web"]
	now := old
	now.Release, now.Command, now.Rollout = 8, []string{"node", "broken.js"}, spec.Rollout{Stable: 7}
	from.Apps["web"] = now
	from.History = map[string][]spec.Past{"web": {{App: old}}}
	r := restoring(&spec.Cluster{Apps: map[string]spec.App{}}, &from)
	if !slices.Equal(r.want["web"].Command, old.Command) || len(r.notes) != 1 || !strings.Contains(r.text(), "it is release 7 that comes back") {
		t.Errorf("%+v\n%s", r.want["web"], r.text())
	}
}

func TestRecover(t *testing.T) {
	plan := api.Recovery{Node: "web-2", Voters: 3, Index: 42, Others: []string{"web-4"},
		Lost: []api.LostServer{{Node: "web-1", ID: "web-1-0a", Addr: "10.0.0.1:7946"}, {Node: "web-3", ID: "web-3-0c", Addr: "10.0.0.3:7946"}}}
	done := plan
	f := &fakeNode{rescue: rescue{recovery: plan, recovered: []api.Recovery{{Running: true}, {Node: "web-2", Running: true}, done}}}
	term := online(t, f)
	text := strings.Join([]string{
		"2 of 3 voting servers cannot be reached:",
		"  web-1  10.0.0.1:7946  web-1-0a",
		"  web-3  10.0.0.3:7946  web-3-0c",
		"web-2 goes on with the configuration that it has, index 42, as the only voter.",
		"The others that answer follow it: web-4.",
		"What cannot be seen from here: whether they are only cut off. Servers that live on a side of their",
		"own go on there with a configuration of their own until they reach this cluster again, and are then",
		"told to end. A change that only they have is lost.",
		"",
	}, "\n")
	term.expect(t, "recover -lost web-1,web-3", exitRefused, "", text+"Give up web-1, web-3 for good? [y/N] \nmeshnode: nothing was changed\n")
	if want := []string{"recover web-1,web-3 true"}; !slices.Equal(f.asked, want) {
		t.Errorf("asked %q", f.asked)
	}
	term.expect(t, "recover -lost web-1,web-3 -yes", exitDone,
		"web-2 leads the cluster, without web-1, web-3; start new servers with -join, and they get votes by themselves\n", text+"the node starts anew, its workers go on\n")
	f.recovered = []api.Recovery{{Error: "no space left on device"}}
	term.expect(t, "recover -lost web-1,web-3 -yes", exitFailed, "", text+"the node starts anew, its workers go on\nmeshnode: nothing was changed: no space left on device\n")
	f.fail = api.Errorf(api.CodeConflict, "see: meshnode status", "there is a quorum")
	term.expect(t, "recover", exitRefused, "", "meshnode: there is a quorum; see: meshnode status\n")
}
