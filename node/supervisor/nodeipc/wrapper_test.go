package nodeipc

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Launchers that start the app as another process, as people use them. Those that are not installed are skipped.
func TestNodeLaunchers(t *testing.T) {
	nodePath(t)
	apps, err := filepath.Abs("../../../e2e/apps")
	if err != nil {
		t.Fatal(err)
	}
	for name, argv := range map[string][]string{
		"npm start":      {"npm", "start"},
		"npm run":        {"npm", "run", "web"},
		"npx":            {"npx", "--no-install", "tsx", "app.ts"},
		"tsx":            {apps + "/node_modules/.bin/tsx", "app.ts"},
		"npm, then tsx":  {"npm", "run", "ts"},
		"npm, then more": {"npm", "run", "steps"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skipf("%s is not installed", argv[0])
			}
			if _, err := os.Stat(apps + "/node_modules/.bin/tsx"); err != nil && (argv[0] == "npx" || argv[len(argv)-1] == "ts") {
				t.Skip("tsx is not installed: make test does it")
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = wrapped(t, apps)
			w := startTree(t, false, cmd)
			kept := w.served("hello")
			if err := w.fam.Drain(); err != nil {
				t.Error(err)
			}
			for closes := false; !closes; { // the request may overtake the message
				_, closes = w.get(kept)
			}
			if err := w.fam.Disconnect(); err != nil {
				t.Error(err)
			}
			await(t, "close of the server", w.rec.unlisten)
			await(t, "end of the worker", w.end)
		})
	}
}

// wrapped is the folder of an app with several scripts.
func wrapped(t *testing.T, apps string) string {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"package.json": `{"name": "wrapped", "scripts": {"start": "node app.js", "web": "node app.js", "ts": "tsx app.ts",
			"steps": "node -e 0 && node app.js"}}`,
		"app.js": hello,
		"app.ts": `import http from 'node:http'; const port: number = 3000; http.createServer((q, s) => s.end('hello')).listen(port);`,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(apps+"/node_modules", filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return dir
}
