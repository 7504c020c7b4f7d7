'use strict';
// An app whose releases differ by their variables: V is what it answers with as its version, START_MS how long it takes to listen, and
// BREAK_ON the node on which it does not start.
const http = require('http');

if (process.env.BREAK_ON && process.env.BREAK_ON === process.env.MESHNODE_NODE) {
  throw new Error('the settings are not on ' + process.env.MESHNODE_NODE);
}
const body = () => JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid, version: process.env.V || '' });
setTimeout(() => http.createServer((req, res) => res.end(body())).listen(3000), Number(process.env.START_MS || 0));
