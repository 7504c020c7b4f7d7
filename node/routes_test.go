package node

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"meshnode/node/supervisor"
	"meshnode/node/supervisor/nodeipc"
)

// Workers are told that a peer is about to stop once, again when it has passed on more connections since, and when it stops the next time.
func TestWorkersAreToldThatAPeerStops(t *testing.T) {
	ours, theirs, err := nodeipc.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	family, err := nodeipc.NewFamily(ours, t.TempDir(), "1", os.Getuid(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoutes(nil, forgetful{})
	r.takes["w"] = supervisor.Worker{ID: "w", Channel: family}
	for _, report := range []struct {
		peer   string
		stops  bool
		passed uint64
	}{{"b", false, 6}, {"b", true, 7}, {"b", true, 7}, {"c", false, 1}, {"b", true, 9}, {"b", true, 9}, {"b", false, 0}, {"b", true, 0}, {"b", true, 0}} {
		r.part(report.peer, report.stops, report.passed)
	}
	if err := family.Close(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for lines := bufio.NewScanner(theirs); lines.Scan(); told++ {
		var m struct{ Act string }
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil || m.Act != "part" {
			t.Errorf("%s, %v", lines.Bytes(), err)
		}
	}
	if told != 3 {
		t.Errorf("told %d times, want 3", told)
	}
}
