'use strict';
// An app that prints a lot: ?kb= kilobytes a second from then on, in lines of a kilobyte.
const http = require('http');
const { randomBytes } = require('crypto');

const lines = Array.from({ length: 500 }, () => randomBytes(750).toString('base64')); // they do not get much smaller
let perTick = 0;
let next = 0;
setInterval(() => {
  for (let i = 0; i < perTick; i++) console.log(lines[next++ % lines.length]);
}, 100);

http
  .createServer((req, res) => {
    const url = new URL(req.url, 'http://app');
    if (url.searchParams.has('kb')) perTick = Number(url.searchParams.get('kb')) / 10;
    res.end(JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid }));
  })
  .listen(3000);
