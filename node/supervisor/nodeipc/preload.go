package nodeipc

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

//go:embed preload.cjs
var preload []byte

// WritePreload puts the preload script into dir, where workers load it from, and returns its path.
func WritePreload(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("write the preload script: %w", err)
	}
	path := filepath.Join(dir, "preload.cjs")
	if err := renameio.WriteFile(path, preload, 0o644); err != nil {
		return "", fmt.Errorf("write the preload script: %w", err)
	}
	return path, nil
}

// Sweep removes the rendezvous that a killed predecessor left in dir. Call it before the first NewFamily there.
func Sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, rendezvousPrefix+"*"))
	for _, path := range left {
		_ = os.Remove(path)
	}
}

// NodeOptions adds the preload script to the value of NODE_OPTIONS that the worker would have had.
func NodeOptions(value, path string) string {
	quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
	return strings.TrimSpace(value + " --require " + quoted)
}
