package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// maxSnapshot is the largest file that is read as a snapshot, in bytes; a configuration that the node can send is smaller.
const maxSnapshot = 64 << 20

func snapshotVerb() verb {
	return verb{
		name: "snapshot", args: "save|inspect|restore <file>", brief: "keep the whole configuration in a file, look into one, or go back to one",
		more: []string{
			"save writes all apps, with their history, and the settings; what a majority agrees on now,",
			"or, without one, what this server knows. Variables of apps are in it: it is for your eyes.",
			"inspect needs no node, and shows no variables. It reads configuration.bin of a data folder too.",
			"restore makes apps and settings what they are in the file, shows what that changes, and asks.",
			"Apps that are not in it are deleted; others become new releases, rolled out like any. A file of",
			"another cluster, or of one that is gone, is as good. Servers, and how they are let in, stay.",
		},
		examples: []string{"meshnode snapshot save backup.snap", "meshnode snapshot inspect backup.snap", "meshnode snapshot restore backup.snap"},
		declare: func(fs *flag.FlagSet) action {
			s := snapshotFlags{changeFlags: declareChange(fs)}
			fs.BoolVar(&s.force, "force", false, "with save: replace a file that is there")
			fs.BoolVar(&s.yes, "yes", false, "with restore: do not ask")
			return func(ctx context.Context, c *console, in input) error {
				args := append(in.args, in.after...)
				if len(args) != 2 {
					return usagef("say save, inspect or restore, and name a file")
				}
				path := c.path(args[1])
				switch args[0] {
				case "save":
					return s.with(c, func(client *api.Client) error { return s.save(ctx, c, client, path) })
				case "inspect":
					return s.inspect(c, path)
				case "restore":
					return s.with(c, func(client *api.Client) error { return s.restore(ctx, c, client, path) })
				}
				return usagef("%q: say save, inspect or restore, and name a file", args[0])
			}
		},
	}
}

type snapshotFlags struct {
	*changeFlags
	force, yes bool
}

// saved is the answer of snapshot save -json.
type saved struct {
	File    string `json:"file"`
	Cluster string `json:"cluster"`
	Index   uint64 `json:"index"`
	Current bool   `json:"current"` // a majority agreed on it; false = the last that this server knows of
	Bytes   int    `json:"bytes"`
}

func (s *snapshotFlags) save(ctx context.Context, c *console, client *api.Client, path string) error {
	if exists(path) && !s.force { // the node is not asked in vain
		return errThere(path)
	}
	snap, err := client.Snapshot(ctx)
	if err != nil {
		return err
	}
	if _, err := readSnapshot(snap.State); err != nil {
		return fmt.Errorf("what the node sent cannot be read: %w", err)
	}
	if err := writeSnapshot(path, snap.State, s.force); err != nil {
		return err
	}
	if !snap.Current {
		c.say("warning: no majority answers; this is what %s knows, and there may be newer changes", snap.Node)
	}
	if s.json {
		return c.printJSON(saved{File: path, Cluster: snap.Cluster, Index: snap.Index, Current: snap.Current, Bytes: len(snap.State)})
	}
	return c.print("%s: the configuration of cluster %s at index %d, %d bytes", path, snap.Cluster, snap.Index, len(snap.State))
}

func errThere(path string) error {
	return api.Errorf(api.CodeConflict, "name another, or replace it with -force", "%s is there already", path)
}

// writeSnapshot makes the file appear whole, for its owner alone, and on the disk.
func writeSnapshot(path string, b []byte, force bool) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && force {
		err = os.Rename(f.Name(), path)
	} else if err == nil { // unlike a rename, a link takes nobody's place
		if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
			err = errThere(path)
		}
	}
	if !force || err != nil {
		_ = os.Remove(f.Name()) // what is left of it is in nobody's way
	}
	if err != nil && api.CodeOf(err) == "" {
		return fmt.Errorf("write the snapshot: %w", err)
	}
	return err
}

// loadSnapshot reads a file and says what is wrong with it.
func loadSnapshot(path string) (*spec.Cluster, os.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxSnapshot || !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no snapshot of meshnode: %d bytes, at most %d are one", path, info.Size(), maxSnapshot)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	state, err := readSnapshot(b)
	if err != nil {
		return nil, nil, fmt.Errorf("%s cannot be used: %w", path, err)
	}
	return state, info, nil
}

// inspected is the answer of snapshot inspect -json.
type inspected struct {
	File     string            `json:"file"`
	Written  time.Time         `json:"written"` // the file, by its own time
	Cluster  string            `json:"cluster"`
	Index    uint64            `json:"index"`
	Apps     []inspectedApp    `json:"apps"`
	Settings map[string]string `json:"settings"`
	Lost     []string          `json:"lost"` // servers that were given up
}

type inspectedApp struct {
	App     string    `json:"app"`
	Release uint64    `json:"release"`
	Since   time.Time `json:"since,omitzero"`
	Workers int       `json:"workers"` // per node; 0 = one per core
	Listen  []string  `json:"listen"`
	Stopped bool      `json:"stopped"`
	Former  int       `json:"former"` // releases in its history (count)
}

func (s *snapshotFlags) inspect(c *console, path string) error {
	state, info, err := loadSnapshot(path)
	if err != nil {
		return err
	}
	out := inspected{File: path, Written: info.ModTime().UTC().Truncate(time.Second), Cluster: state.ID, Index: state.Index, Settings: state.Settings,
		Lost: state.Lost, Apps: []inspectedApp{}}
	for _, name := range slices.Sorted(maps.Keys(state.Apps)) {
		app := state.Apps[name]
		a := inspectedApp{App: name, Release: app.Release, Workers: app.Workers, Listen: slices.Concat([]string{}, app.Listen, app.Learned), Stopped: app.Stopped, Former: len(state.History[name])}
		if app.Since != 0 {
			a.Since = time.Unix(app.Since, 0).UTC()
		}
		out.Apps = append(out.Apps, a)
	}
	if out.Settings == nil {
		out.Settings = map[string]string{}
	}
	out.Lost = append([]string{}, out.Lost...)
	if s.json {
		return c.printJSON(out)
	}
	return c.printText(inspectedText(out))
}

func inspectedText(s inspected) string {
	var b strings.Builder
	var head table
	head.row("cluster", s.Cluster)
	head.row("index", strconv.FormatUint(s.Index, 10))
	head.row("written", s.Written.Format(time.RFC3339))
	for _, key := range slices.Sorted(maps.Keys(s.Settings)) {
		head.row("setting", key+"="+s.Settings[key])
	}
	for _, id := range s.Lost {
		head.row("given up", id)
	}
	b.WriteString(head.String())
	if len(s.Apps) == 0 {
		b.WriteString("there are no apps in it\n")
		return b.String()
	}
	var t table
	t.row("APP", "RELEASE", "SINCE", "WORKERS", "LISTEN")
	for _, a := range s.Apps {
		workers := strconv.Itoa(a.Workers)
		switch {
		case a.Stopped:
			workers = "stopped"
		case a.Workers == 0:
			workers = "max"
		}
		since := "-"
		if !a.Since.IsZero() {
			since = a.Since.Format(time.RFC3339)
		}
		t.row(a.App, strconv.FormatUint(a.Release, 10), since, workers, orDash(strings.Join(a.Listen, " ")))
	}
	b.WriteString(t.String())
	return b.String()
}
