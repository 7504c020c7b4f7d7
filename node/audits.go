package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"meshnode/mesh"
	"meshnode/node/api"
	"meshnode/node/audit"
)

// auditFile is the name of the audit log in the data folder.
const auditFile = "audit.log"

// openAudit makes the audit log ready: what is asked for from now on is kept there.
func (n *Node) openAudit(context.Context) error {
	n.view.audit = audit.New(n.dir.join(auditFile))
	n.closeLater("audit log", n.view.audit.Close)
	return nil
}

// auditsBackend keeps and shows who changed what.
type auditsBackend struct{ n *Node }

// Record implements api.Audits.
func (b auditsBackend) Record(e api.AuditEntry) {
	e.Node = b.n.s.Node
	text, err := json.Marshal(e)
	if err == nil {
		err = b.n.view.audit.Append(text)
	}
	if err != nil {
		b.n.log.Error("a change is not in the audit log", "what", e.What, "app", e.App, "err", err)
	}
}

// Audit implements api.Audits.
func (b auditsBackend) Audit(ctx context.Context, q api.AuditQuery) (api.Audit, error) {
	ctx, cancel := context.WithTimeout(ctx, pastTime)
	defer cancel()
	var mu sync.Mutex
	var out api.Audit
	var wg sync.WaitGroup
	for name, m := range b.n.members() {
		if m.Status == mesh.Left {
			continue
		}
		ask := b.LocalAudit
		if name != b.n.s.Node {
			ask = b.n.view.clients.get(b.n.mux, name, m.Addr).LocalAudit
		}
		wg.Go(func() {
			got, err := ask(ctx, q)
			mu.Lock()
			defer mu.Unlock()
			out.Entries = append(out.Entries, got.Entries...)
			switch {
			case api.CodeOf(err) == api.CodeNotFound:
				out.Missing = append(out.Missing, api.Missing{Node: name, Why: "it runs an older release"})
			case err != nil:
				out.Missing = append(out.Missing, api.Missing{Node: name, Why: err.Error()})
			}
		})
	}
	wg.Wait()
	slices.SortStableFunc(out.Entries, func(x, y api.AuditEntry) int { return cmp.Or(x.Time.Compare(y.Time), cmp.Compare(x.Node, y.Node)) })
	out.Entries = out.Entries[max(0, len(out.Entries)-q.Lines):]
	slices.SortFunc(out.Missing, func(x, y api.Missing) int { return cmp.Compare(x.Node, y.Node) })
	return out, nil
}

// LocalAudit implements api.Audits. A line that cannot be read, because a crash has cut it short, is passed over.
func (b auditsBackend) LocalAudit(_ context.Context, q api.AuditQuery) (api.Audit, error) {
	var out api.Audit
	err := b.n.view.audit.Newest(func(line []byte) bool {
		var e api.AuditEntry
		if json.Unmarshal(line, &e) != nil {
			return true
		}
		if e.Time.Before(q.Since) {
			return false
		}
		out.Entries = append(out.Entries, e)
		return len(out.Entries) < q.Lines
	})
	slices.Reverse(out.Entries)
	return out, err
}

var _ api.Audits = auditsBackend{}

// auditWarnings says that changes are made of which nothing is kept.
func (n *Node) auditWarnings() []api.Warning {
	count, reason := n.view.audit.Failed()
	if reason == nil {
		return nil
	}
	return []api.Warning{{What: fmt.Sprintf("changes asked of %s are not in its audit log (%d since its start): %v", n.s.Node, count, reason),
		Remedy: "make room on its disk, or mend its data folder"}}
}
