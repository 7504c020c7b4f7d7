package mesh

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestMemberlistLogsWithLevelsAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		l := newMemberLog(hclog.New(&hclog.LoggerOptions{Name: "mesh", Output: &buf, Level: hclog.Info}))
		l.Printf("[DEBUG] memberlist: not shown, and not counted")
		for range 1000 {
			l.Printf("[ERR] memberlist: Decrypt packet failed")
		}
		if n := strings.Count(buf.String(), "[ERROR] mesh.memberlist: memberlist: Decrypt packet failed"); n != memberlistLines {
			t.Errorf("%d lines of errors in:\n%s", n, buf.String())
		}
		<-time.After(time.Second)
		l.Printf("[ERR] memberlist: later")
		for _, want := range []string{"count=980", "[ERROR] mesh.memberlist: memberlist: later"} {
			if !strings.Contains(buf.String(), want) {
				t.Errorf("no %q in:\n%s", want, buf.String())
			}
		}
		if strings.Contains(buf.String(), "not shown") {
			t.Error("debug lines are shown")
		}
	})
}
