'use strict';
// The app of the benchmark: unmodified Node.js that knows nothing of who runs it. Variables, because both contenders hand them on:
//   MS        milliseconds until an answer (20)
//   APP_FD    a listening socket that was inherited, in place of APP_PORT
//   GRACEFUL  1 = SIGINT and SIGTERM close the server and end the process when the last answer is out; otherwise signals are Node's own
//   /grow     keeps 200 MB more in the worker that is asked
const http = require('http');

const ms = Number(process.env.MS || 20);
const kept = [];

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://bench');
  if (url.pathname === '/grow') kept.push(Buffer.alloc(200 << 20, 1));
  const body = `answer ${url.searchParams.get('n')} from ${process.pid}\n`;
  if (ms === 0) res.end(body);
  else setTimeout(() => res.end(body), ms);
});
if (process.env.APP_FD) server.listen({ fd: Number(process.env.APP_FD) });
else server.listen(Number(process.env.APP_PORT || 3000));

if (process.env.GRACEFUL === '1') {
  const end = () => server.close(() => process.exit(0));
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
}
