'use strict';
// Starts a process of its own that leaves the process group, as daemons do, and says which.
const { spawn } = require('child_process');
const child = spawn('sleep', ['600'], { detached: true, stdio: 'ignore' });
child.unref();
console.log(`child ${child.pid}`);
require('http')
  .createServer((req, res) => res.end(JSON.stringify({ node: process.env.MESHNODE_NODE, pid: child.pid })))
  .listen(3000);
