'use strict';
// The app of the end-to-end tests: unmodified Node.js that calls listen itself and knows nothing of meshnode.
//   /        answers after ?ms= milliseconds, who served it
//   /one     the same, one request at a time per worker
//   /hold    says who serves it at once, and keeps the answer open until the client leaves
//   /slow    says who serves it at once, and ends the answer after ?ms= milliseconds
// A request with ?n= is one of the counted load: it is answered with that number and the process, after ?us= microseconds.
const http = require('http');

const me = () => ({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid, version: process.env.APP_VERSION || '' });
let last = Promise.resolve();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

http
  .createServer(async (req, res) => {
    const url = new URL(req.url, 'http://app');
    const ms = Number(url.searchParams.get('ms') || 0);
    if (url.searchParams.has('n')) {
    await pause(Number(url.searchParams.get('us') || 0) / 1000);
    res.end(`answer ${url.searchParams.get('n')} from ${process.pid}\n`);
    return;
  }
  const body = JSON.stringify({ ...me(), remote: req.socket.remoteAddress });
    if (url.pathname === '/hold') {
      res.write(body + '\n');
      return;
    }
    if (url.pathname === '/slow') {
      res.write(body + '\n');
      await pause(ms);
      res.end('the end\n');
      return;
    }
    if (url.pathname === '/one') {
      last = last.then(() => pause(ms));
      await last;
    } else if (ms > 0) {
      await pause(ms);
    }
    res.end(body);
  })
  .listen(3000);
