'use strict';
// An app that can go wrong.
//   /       answers who served it
//   /loop   never answers: the event loop is blocked for ever
//   /eat    answers, and keeps ?mb= megabytes
const http = require('http');

const kept = [];
http
  .createServer((req, res) => {
    const url = new URL(req.url, 'http://app');
    if (url.pathname === '/loop') for (;;);
    if (url.pathname === '/eat') kept.push(Buffer.alloc(Number(url.searchParams.get('mb')) << 20, 1));
    res.end(JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid }));
  })
  .listen(3000);
