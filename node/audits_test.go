package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/node/api"
	"meshnode/node/audit"
)

func TestAuditIsKeptAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	n := &Node{log: hclog.NewNullLogger()}
	n.s.Node = "h1"
	n.view.audit = audit.New(filepath.Join(dir, auditFile))
	defer n.view.audit.Close()
	b := auditsBackend{n}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.Record(api.AuditEntry{Time: at, What: "lost"})
	if w := n.auditWarnings(); len(w) != 1 || !strings.Contains(w[0].What, "1 since its start") {
		t.Errorf("nothing could be written: %+v", w)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, what := range []string{"start", "scale", "stop"} {
		b.Record(api.AuditEntry{Time: at.Add(time.Duration(i) * time.Hour), What: what, Caller: api.Caller{Via: api.ViaSocket, UID: 0}})
	}
	if w := n.auditWarnings(); w != nil {
		t.Errorf("all is well: %+v", w)
	}
	for _, c := range []struct {
		q    api.AuditQuery
		want string
	}{
		{api.AuditQuery{Lines: 9}, "start scale stop"}, {api.AuditQuery{Lines: 2}, "scale stop"}, {api.AuditQuery{Lines: 9, Since: at.Add(time.Hour)}, "scale stop"},
		{api.AuditQuery{Lines: 9, Since: at.Add(9 * time.Hour)}, ""},
	} {
		a, err := b.LocalAudit(t.Context(), c.q)
		var got []string
		for _, e := range a.Entries {
			got = append(got, e.What)
			if e.Node != "h1" || e.Caller.UID != 0 {
				t.Errorf("%+v", e)
			}
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%+v: %q, %v; want %s", c.q, got, err, c.want)
		}
	}
}
