'use strict';
// A program that knows only PORT, as most do that are not Node.js; it stands for any language.
require('http')
  .createServer((req, res) => {
    res.end(JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid, remote: req.socket.remoteAddress }));
  })
  .listen(process.env.PORT, '127.0.0.1');
