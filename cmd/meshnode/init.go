package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
)

func initVerb() verb {
	return verb{
		name: "init", aliases: []string{"ecosystem"}, brief: "write an app file with comments into this folder",
		more:     []string{"It is ecosystem.config.js, or meshnode.yaml with -yaml. A file that is there stays as it is."},
		examples: []string{"meshnode init", "meshnode init -yaml"},
		declare: func(set *flag.FlagSet) action {
			var asYAML bool
			set.BoolVar(&asYAML, "yaml", false, "write meshnode.yaml")
			return func(_ context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				name, text := "ecosystem.config.js", exampleScript
				if asYAML {
					name, text = "meshnode.yaml", exampleYAML
				}
				path := c.path(name)
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
				if errors.Is(err, fs.ErrExist) {
					return fmt.Errorf("there is a file %s already; it stays as it is", path)
				}
				if err != nil {
					return fmt.Errorf("write the app file: %w", err)
				}
				_, err = f.WriteString(text)
				if err := errors.Join(err, f.Close()); err != nil {
					return fmt.Errorf("write the app file: %w", err)
				}
				return c.print("%s is written; put your app into it, then: meshnode start %s", path, name)
			}
		},
	}
}

const exampleScript = `// Apps for meshnode, with PM2's keys. Check it: meshnode validate. Run it: meshnode start ecosystem.config.js
module.exports = {
  apps: [
    {
      name: 'app',
      script: 'server.js', // relative to cwd
      // cwd: '.', // relative to this file
      // args: ['--verbose'],
      // node_args: '--max-old-space-size=512',
      instances: 'max', // workers on each server: a number, or max for one per core
      env: { NODE_ENV: 'development' },
      env_production: { NODE_ENV: 'production' }, // with: -env production
      // port: 8080, // where clients connect, for programs that listen on the port in PORT
      // max_memory_restart: '500M',
      // cron_restart: '0 4 * * *',
      // wait_ready: true, // ready when it says so: process.send('ready')
      // listen_timeout: '30s', // a bare number is in milliseconds
      // kill_timeout: '10s',
      // health: { path: '/healthz', interval: '2s', timeout: '1s', fall: 3, rise: 2, hang: '10s' },
      // limits: { memory: '1G', cpu: 1, tasks: 200, open_files: 65536 },
      // log_rotate: { size: '50M', keep: 9, cap: '1G' },
    },
  ],
};
`

const exampleYAML = `# Apps for meshnode. Check it: meshnode validate. Run it: meshnode start meshnode.yaml
apps:
  - name: app
    script: server.js # relative to cwd
    # cwd: .          # relative to this file
    # args: [--verbose]
    # node_args: --max-old-space-size=512
    instances: max    # workers on each server: a number, or max for one per core
    env:
      NODE_ENV: development
    env_production:   # with: -env production
      NODE_ENV: production
    # port: 8080      # where clients connect, for programs that listen on the port in PORT
    # max_memory_restart: 500M
    # cron_restart: "0 4 * * *"
    # wait_ready: true # ready when it says so: process.send('ready') or READY=1
    # listen_timeout: 30s # a bare number is in milliseconds
    # drain_timeout: 30s
    # kill_timeout: 10s
    # stop_signal: SIGTERM
    # rollout: { order: start-first, watch: 10s }
    # health: { path: /healthz, interval: 2s, timeout: 1s, fall: 3, rise: 2, hang: 10s }
    # limits: { memory: 1G, cpu: 1, tasks: 200, open_files: 65536 }
    # log_rotate: { size: 50M, keep: 9, cap: 1G }
`
