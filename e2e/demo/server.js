'use strict';
// An ordinary Node.js server: it calls listen itself and knows nothing of meshnode. The two variables only tell who answers.
const http = require('http');

const me = `${process.env.MESHNODE_NODE || 'alone'}/${process.env.NODE_APP_INSTANCE || 0}`;

http
  .createServer((req, res) => {
    setTimeout(() => res.end(`hello from ${me} (pid ${process.pid})\n`), 20); // as if it asked a database
  })
  .listen(3000);
