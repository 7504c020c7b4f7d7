package appfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"meshnode/node/config"
	"meshnode/node/supervisor"
)

// scriptTime is how long a JavaScript file may take to say what it exports.
const scriptTime = 20 * time.Second

// loader imports the file named by its argument and writes what it exports to descriptor 3, or where and why it failed. Standard output
// stays the file's own. A regular expression, which JSON has no form for, is written as a text between slashes.
const loader = `
const fs = require('fs'), url = require('url'), file = process.argv[1];
let done = false;
const answer = (v) => { if (done) return; done = true; let b = Buffer.from(JSON.stringify(v)); while (b.length) b = b.subarray(fs.writeSync(3, b)); process.exit(0); };
const fail = (e) => {
  const stack = String((e && e.stack) || e), message = String((e && e.message) || e).split('\n')[0];
  const names = [file, url.pathToFileURL(file).href], lines = stack.split('\n');
  let line = 0;
  for (const l of lines) for (const n of names) {
    const at = l.indexOf(n + ':');
    if (!line && at >= 0) line = parseInt(l.slice(at + n.length + 1), 10) || 0;
  }
  answer({ error: (e && e.name && e.name !== 'Error' ? e.name + ': ' : '') + message, line });
};
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
process.on('exit', () => { if (!done) fs.writeSync(3, JSON.stringify({ error: 'it ends the program before it has exported anything', line: 0 })); });
import(url.pathToFileURL(file).href).then(async (m) => {
  const v = await ('default' in m ? m.default : m);
  if (typeof v === 'function') return answer({ error: 'it exports a function; export the object that the function returns', line: 0 });
  const plain = JSON.stringify(v, (k, x) => (x instanceof RegExp ? String(x) : x));
  if (plain === undefined) return answer({ error: 'it exports nothing', line: 0 });
  answer({ exports: JSON.parse(plain) });
}).catch(fail);
`

// parseScript has the user's own Node.js evaluate a JavaScript file, in its folder.
func (o Options) parseScript(ctx context.Context) (value, error) {
	program := o.Node
	if program == "" {
		program = "node"
	}
	path, err := Programs{Dir: o.Dir, Environ: o.Environ}.LookPath(program)
	if err != nil {
		return value{}, fmt.Errorf("%s is needed to read a JavaScript file, and is not in PATH; install Node.js, or write the file as JSON or YAML", program)
	}
	answer, err := supervisor.Evaluate(ctx, supervisor.Evaluation{
		Command: []string{path, "-e", loader, "--", o.Path}, Dir: filepath.Dir(o.Path), Env: withoutKey(o.Environ), Time: scriptTime, Size: maxBytes,
	})
	switch {
	case errors.Is(err, supervisor.ErrEvaluation):
		reason, _, _ := strings.Cut(err.Error(), ": "+supervisor.ErrEvaluation.Error())
		return value{}, errors.New(strings.Replace(reason, path, "it", 1))
	case err != nil:
		return value{}, err
	}
	if o.Output != nil {
		if _, err := o.Output.Write(append(answer.Out, answer.Err...)); err != nil {
			return value{}, fmt.Errorf("pass on what the file prints: %w", err)
		}
	}
	return scriptValue(answer)
}

// withoutKey leaves the cluster key out, which is no business of the file's.
func withoutKey(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool { return strings.HasPrefix(kv, config.EnvPrefix+"KEY=") })
}

// scriptValue reads what the loader wrote.
func scriptValue(answer supervisor.Answer) (value, error) {
	var head struct {
		Error string `json:"error"`
		Line  int    `json:"line"`
	}
	d := json.NewDecoder(bytes.NewReader(answer.Result)) // what follows the first answer does not count
	var first json.RawMessage
	if err := d.Decode(&first); err != nil {
		return value{}, fmt.Errorf("it ended with exit code %d and exported nothing%s", answer.Code, lastLine(answer.Err))
	}
	if err := json.Unmarshal(first, &head); err == nil && head.Error != "" {
		return value{}, &syntaxError{head.Line, errors.New(head.Error)}
	}
	whole, err := parseJSON(first)
	if err != nil {
		return value{}, err
	}
	v, _ := whole.get("exports")
	return v.unplaced(), nil
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if last := lines[len(lines)-1]; last != "" {
		return ": " + clip(last)
	}
	return ""
}

// unplaced is v without lines: those of the loader's answer say nothing to anybody.
func (v value) unplaced() value {
	v.line = 0
	for i := range v.list {
		v.list[i] = v.list[i].unplaced()
	}
	for i := range v.keys {
		v.keys[i].line = 0
		v.keys[i].value = v.keys[i].value.unplaced()
	}
	return v
}
