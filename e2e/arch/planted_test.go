package arch

import (
	"go/token"
	"strings"
	"testing"
)

// fault is a small file, and what a rule must say of it.
type fault struct {
	name  string
	path  string
	text  string
	check func(h *house) []string
	want  string // "" = no violation
}

var faults = []fault{
	{"pillar imports pillar", "mesh/a.go", "package mesh\nimport _ \"meshnode/store\"\n", checkImports, "mesh/a.go:2: mesh may not import store"},
	{"room that nobody knows", "helpers/a.go", "package helpers\n", checkImports, "not in the table"},
	{"library that nobody knows", "mesh/a.go", "package mesh\nimport _ \"example.com/x\"\n", checkImports, "may not import example.com/x"},
	{"test library in code", "node/api/a.go", "package api\nimport _ \"github.com/google/go-cmp/cmp\"\n", checkImports, "may not import"},
	{"gossip outside mesh", "node/a.go", "package node\nimport _ \"github.com/hashicorp/memberlist\"\n", checkConfinedImports, "replaced by changing one room"},
	{"part of a library", "node/a.go", "package node\nimport _ \"go.etcd.io/bbolt/errors\"\n", checkConfinedImports, "store on disk"},
	{"process outside the supervisor", "cmd/meshnode/a.go", "package main\nimport _ \"os/exec\"\n", checkConfinedImports, "only the supervisor"},
	{"exit below main", "node/a.go", "package node\nimport \"os\"\nfunc f() { os.Exit(1) }\n", checkConfinedCalls, "node/a.go:3: node may not use os.Exit"},
	{"second root logger", "store/a.go", "package store\nimport \"github.com/hashicorp/go-hclog\"\nvar l = hclog.New(nil)\n", checkConfinedCalls, "one root logger"},
	{"sleep in code", "store/a.go", "package store\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", checkConfinedCalls, "wait for an event"},
	{"multipath listener", "node/a.go", "package node\nimport \"net\"\nfunc f() { net.Listen(\"tcp\", \"\") }\n", checkPlainTCP, "MPTCP"},
	{"multipath dialer", "node/a.go", "package node\nimport \"net\"\nfunc f() { var d net.Dialer; d.Dial(\"tcp\", \"\") }\n", checkPlainTCP, "lacks"},
	{"unix socket", "node/a.go", "package node\nimport \"net\"\nfunc f() { net.Listen(\"unix\", \"\") }\n", checkPlainTCP, ""},
	{"clock in the balancer", "balancer/a.go", "package balancer\nimport \"time\"\nvar a = time.Now()\n", checkPurity, "time.Now"},
	{"entropy in a plan", "store/quorum/plan.go", "package quorum\nimport \"math/rand/v2\"\nvar a = rand.Int()\n", checkPurity, "rand/v2.Int"},
	{"goroutine in the machine", "store/fsm/a.go", "package fsm\nfunc f() { go f() }\n", checkPurity, "no goroutine"},
	{"network in the balancer", "balancer/a.go", "package balancer\nimport _ \"net\"\nimport _ \"os\"\n", checkPurity, "may not import os"},
	{"reading an address", "store/spec/a.go", "package spec\nimport \"net\"\nvar a = net.ParseIP(\"\")\n", checkPurity, ""},
	{"long file", "mesh/a.go", "package mesh\n" + strings.Repeat("\n", codeLines), checkSizes, "401 lines"},
	{"long function", "mesh/a.go", "package mesh\n\nfunc f() {\n" + strings.Repeat("\tg()\n", funcLines) + "}\n", checkSizes, "f: 62 lines"},
	{"wide struct", "mesh/a.go", "package mesh\ntype S struct { a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p int }\n", checkSizes, "16 fields"},
	{"wide interface", "mesh/a.go", "package mesh\ntype I interface { A(); B(); C(); D(); E(); F(); G() }\n", checkSizes, "7 methods"},
	{"many parameters", "mesh/a.go", "package mesh\nfunc f(a, b, c int, d, e, g string) {}\n", checkSizes, "6 parameters"},
	{"no doc.go", "mesh/a.go", "package mesh\n", checkPackageDocs, "no doc.go"},
	{"doc of nothing", "mesh/doc.go", "// Package mesh is.\n//\n// Concurrency: none.\n//\n// Read gone.go.\npackage mesh\n", checkPackageDocs, "gone.go"},
	{"nameless comment", "mesh/a.go", "package mesh\n\n// This does it.\nfunc Do() {}\n", checkExported, "comment on Do"},
	{"no comment", "mesh/a.go", "package mesh\ntype T int\n", checkExported, "comment on T"},
	{"init", "mesh/a.go", "package mesh\nfunc init() {}\n", checkGlobals, "no init"},
	{"global", "mesh/a.go", "package mesh\nvar counter int\n", checkGlobals, "counter is state"},
	{"errors are no state", "mesh/a.go", "package mesh\nimport \"errors\"\nvar ErrX = errors.New(\"x\")\n", checkGlobals, ""},
	{"drawer", "mesh/helpers_test.go", "package mesh\n", checkDrawers, "helpers"},
	{"drawer by its end", "mesh/netutil/a.go", "package netutil\n", checkDrawers, "netutil"},
	{"something at the top", "pkg/a.go", "package pkg\n", checkTopLevel, "top of the house"},
	{"code in deploy", "deploy/a.go", "package deploy\n", checkTopLevel, "no Go"},
	{"sleep in a test", "mesh/a_test.go", "package mesh\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", checkSleep, "mesh/a_test.go:3"},
	{"sleep in a bubble", "mesh/a_test.go", "package mesh\nimport \"time\"\nimport _ \"testing/synctest\"\nfunc f() { time.Sleep(1) }\n", checkSleep, ""},
	{"mark", "mesh/a.go", "package mesh\n// " + marks[0] + ": later\n", checkMarks, "mesh/a.go:2"},
	{"error text", "mesh/a.go", "package mesh\nimport \"fmt\"\nvar e = fmt.Errorf(\"failed to %w\", nil)\n", checkErrorTexts, "plain words"},
	{"loud log", "mesh/a.go", "package mesh\nfunc f() { l.Warn(\"Peer gone\") }\n", checkLogs, "lower case"},
	{"log made up", "mesh/a.go", "package mesh\nfunc f() { l.Warn(msg) }\n", checkLogs, "constant"},
	{"odd pairs", "mesh/a.go", "package mesh\nfunc f() { l.Warn(\"gone\", \"peer\") }\n", checkLogs, "without a value"},
	{"key of one's own", "mesh/a.go", "package mesh\nfunc f() { l.Warn(\"gone\", \"colour\", 1) }\n", checkLogs, "\"colour\" is not"},
	{"metric in place", "mesh/a.go", "package mesh\nfunc f() { m.IncrCounter([]string{\"a\"}, 1) }\n", checkMetricNames, "metrics.go"},
	{"module without a reason", "go.mod", "require example.com/x v1.0.0\n", checkModules, "nothing imports example.com/x"},
	{"old library", "go.mod", "require github.com/hashicorp/raft v1.7.3\n", checkVersions, "older than v1.8.0"},
}

// TestPlantedFaults proves that each rule finds the fault it is there for, and says where.
func TestPlantedFaults(t *testing.T) {
	for _, c := range faults {
		t.Run(c.name, func(t *testing.T) {
			h := &house{set: token.NewFileSet(), files: make(map[string]string)}
			if err := h.add(c.path, c.text); err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, v := range c.check(h) {
				if !strings.HasPrefix(v, "table of ") && !strings.HasPrefix(v, "list of ") { // those speak of what this small house lacks
					found = append(found, v)
				}
			}
			switch all := strings.Join(found, "\n"); {
			case c.want == "" && all != "":
				t.Errorf("found: %s", all)
			case !strings.Contains(all, c.want):
				t.Errorf("found: %q, want something with %q", all, c.want)
			}
		})
	}
}
