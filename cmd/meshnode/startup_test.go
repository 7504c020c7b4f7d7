package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The unit that is delivered is the one that startup writes.
func TestDeliveredUnit(t *testing.T) {
	path := filepath.Join("..", "..", "deploy", "meshnode.service")
	u := unit{program: "/usr/local/bin/meshnode", user: "meshnode", dataDir: rootData}
	if *update {
		if err := os.WriteFile(path, []byte(u.text()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(raw), u.text()); d != "" {
		t.Errorf("deploy/meshnode.service (-file +written):\n%s", d)
	}
}

func TestUnitText(t *testing.T) {
	u := unit{program: "/opt/my node/meshnode", user: "root", dataDir: "/data", path: "/a:/b c", args: []string{"-join", "a:7946", "-tag", "x=50%$A", ""}}
	text := u.text()
	for _, want := range []string{
		"Type=notify\n", "NotifyAccess=main\n", "WatchdogSec=30\n", "Restart=always\n", "RestartSec=100ms\n", "KillMode=mixed\n", "Delegate=yes\n", "LimitNOFILE=1048576\n",
		`ExecStart="/opt/my node/meshnode" -join a:7946 -tag x=50%%$$A ""` + "\n", `ExecReload="/opt/my node/meshnode" upgrade "/opt/my node/meshnode"` + "\n",
		"Environment=MESHNODE_DATA_DIR=/data\n", `Environment="PATH=/a:/b c"` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, not := range []string{"User=", "AmbientCapabilities", "StateDirectory"} {
		if strings.Contains(text, not) {
			t.Errorf("%q is in\n%s", not, text)
		}
	}
}

// bootable gives the terminal a server with systemd of its own, whose calls it returns.
func bootable(term *terminal, user string) *[]string {
	calls := &[]string{}
	term.boot = boot{folder: term.dir, program: "/usr/bin/meshnode", user: user, systemd: true,
		home: func(name string) (string, error) {
			if name == "nobody" {
				return "", errors.New("there is no user \"nobody\" on this server")
			}
			return "/home/" + name, nil
		},
		systemctl: func(_ context.Context, args ...string) error {
			*calls = append(*calls, strings.Join(args, " "))
			if args[0] == "is-active" && !exists(filepath.Join(term.dir, "active")) {
				return errors.New("inactive")
			}
			return nil
		}}
	term.environ = []string{"PATH=/usr/bin:/opt/node/bin"}
	return calls
}

func TestStartup(t *testing.T) {
	term := offline(t)
	calls := bootable(term, "root")
	path := filepath.Join(term.dir, "meshnode.service")
	term.expect(t, "unstartup", exitDone, "there is no "+path+"; nothing to undo\n", "")
	term.expect(t, "startup -user deploy -- -join a:7946 -http off", exitDone, "the node starts now, and with this server; look with: systemctl status meshnode\n", path+" is written\n")
	raw, err := os.ReadFile(path)
	want := unit{program: "/usr/bin/meshnode", user: "deploy", dataDir: "/home/deploy/.local/state/meshnode", path: "/usr/bin:/opt/node/bin", args: []string{"-join", "a:7946", "-http", "off"}}
	if err != nil || string(raw) != want.text() {
		t.Errorf("%v\n%s", err, cmp.Diff(want.text(), string(raw)))
	}
	term.touch(t, "active")
	term.expect(t, "startup -user deploy -- -join b:7946", exitDone,
		"the node starts with this server; the one that runs keeps its old flags until: systemctl restart meshnode\n", path+" is written\n")
	term.expect(t, "unstartup", exitDone, "meshnode.service is stopped and removed\n", "")
	if exists(path) {
		t.Error("the unit is still there")
	}
	if d := cmp.Diff(append(slices.Repeat([]string{"is-active --quiet meshnode.service", "daemon-reload", "enable meshnode.service", "start --no-block meshnode.service"}, 2),
		"disable --now meshnode.service", "daemon-reload"), *calls); d != "" {
		t.Error(d)
	}
	want.user, want.dataDir, want.args = "root", rootData, nil
	term.expect(t, "startup -print", exitDone, want.text(), "")
}

func TestStartupBesideARunningNode(t *testing.T) {
	term := online(t, &fakeNode{})
	calls := bootable(term, "root")
	if err := os.Symlink(filepath.Join(term.dir, "s"), filepath.Join(term.dir, "meshnode.sock")); err != nil {
		t.Fatal(err)
	}
	term.expect(t, "startup -data-dir .", exitFailed, "", "meshnode: a node runs with the data folder "+term.dir+" already, and not as a service; stop it, then do this again\n")
	if len(*calls) != 1 {
		t.Errorf("%q", *calls)
	}
}

func TestStartupRefusals(t *testing.T) {
	term := offline(t)
	calls := bootable(term, "me")
	term.touch(t, "meshnode.service")
	for line, want := range map[string]string{
		"startup -- -join a:1": "only root may do that; run: sudo env PATH=/usr/bin:/opt/node/bin /usr/bin/meshnode startup -user me -data-dir /home/me/.local/state/meshnode -- -join a:1",
		"unstartup":            "only root may do that; run: sudo env PATH=/usr/bin:/opt/node/bin /usr/bin/meshnode unstartup",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\n")
	}
	term.expect(t, "startup -u nobody", exitFailed, "", "meshnode: there is no user \"nobody\" on this server\n")
	for line, want := range map[string]string{
		"startup -- -jion a": "behind --: there is no flag -jion; did you mean -join?", "startup -- start x": "behind -- stand flags of the node; \"start\" is none",
		"startup -- -data-dir /x": "-data-dir belongs before --", "startup x": "\"x\" is one argument too many",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help startup\n")
	}
	term.boot.systemd = false
	term.expect(t, "startup", exitFailed, "", "meshnode: systemd does not run this server; start the node by what does, in the foreground: meshnode\n")
	if len(*calls) > 0 {
		t.Errorf("%q", *calls)
	}
}
