'use strict';
// A broken release: it listens, answers as the good one, and ends 300 ms later.
const http = require('http');

http
  .createServer((req, res) => {
    const n = new URL(req.url, 'http://bench').searchParams.get('n');
    setTimeout(() => res.end(`answer ${n} from ${process.pid}\n`), Number(process.env.MS || 20));
  })
  .listen(Number(process.env.APP_PORT || 3000), () => setTimeout(() => process.exit(1), 300));
