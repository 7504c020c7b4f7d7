'use strict';
// An app that calls cluster itself: its primary starts two workers, again when one ends, and passes a stop on.
const cluster = require('cluster');
if (cluster.isPrimary) {
  let stopping = false;
  const start = () => cluster.fork();
  start();
  start();
  cluster.on('exit', () => { if (!stopping) start(); });
  process.on('SIGTERM', () => { stopping = true; cluster.disconnect(); });
} else {
  const me = () => JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid });
  require('http').createServer((req, res) => res.end(me())).listen(3000);
}
