package output

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestOldLogsOfAppsThatAreGone(t *testing.T) {
	dir := t.TempDir()
	b := Open(Options{Dir: dir, Logger: hclog.NewNullLogger()})
	defer b.Close()
	old := time.Now().Add(-48 * time.Hour)
	for _, app := range []string{"wanted", "gone", "fresh"} {
		file := filepath.Join(dir, app, "0-out.log")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if app == "fresh" {
			continue
		}
		for _, path := range []string{file, filepath.Dir(file)} {
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	gone, err := b.RemoveOld(24*time.Hour, func(app string) bool { return app == "wanted" })
	if err != nil || !slices.Equal(gone, []string{"gone"}) {
		t.Errorf("removed %v, %v", gone, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "gone")); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
}
