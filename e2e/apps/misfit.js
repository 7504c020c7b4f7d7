'use strict';
// A worker that does not end as it should. It answers with the numbers of all processes that it has started.
//   KIND=deaf     it and its child ignore SIGTERM
//   KIND=daemons  it starts processes that are nobody's children and lead sessions of their own, one of them without the environment
const { spawn } = require('child_process');

const pids = [];
const start = (command, ...args) =>
  spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] }).stdout.on('data', (text) => pids.push(...String(text).trim().split('\n').map(Number)));

if (process.env.KIND === 'deaf') {
  process.on('SIGTERM', () => {});
  start('sh', '-c', "trap '' TERM; echo $$; sleep 600 >/dev/null & echo $!; wait");
} else {
  start('setsid', 'sh', '-c', 'sleep 600 >/dev/null & echo $!');
  start('env', '-i', 'setsid', 'sh', '-c', '/bin/sleep 600 >/dev/null & echo $!');
}
require('http')
  .createServer((req, res) => res.end(JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid, pids })))
  .listen(4000);
