package contender

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// appFile writes the app as an ecosystem.config.js, which both contenders read, and returns its path.
func appFile(dir string, a App) (string, error) {
	app := map[string]any{"name": a.Name, "script": a.Script, "instances": a.Workers, "exec_mode": "cluster", "cwd": filepath.Dir(a.Script), "env": a.Env}
	if a.MaxMemory != "" {
		app["max_memory_restart"] = a.MaxMemory
	}
	if a.Cron != "" {
		app["cron_restart"] = a.Cron
	}
	raw, err := json.MarshalIndent(map[string]any{"apps": []any{app}}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("app file: %w", err)
	}
	name := filepath.Join(dir, "ecosystem.config.js")
	if err := os.WriteFile(name, []byte("module.exports = "+string(raw)+";\n"), 0o644); err != nil {
		return "", fmt.Errorf("app file: %w", err)
	}
	return name, nil
}
