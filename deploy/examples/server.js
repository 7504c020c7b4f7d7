'use strict';
require('http')
  .createServer((req, res) => res.end(`served by worker ${process.env.NODE_APP_INSTANCE} of ${process.env.MESHNODE_NODE}\n`))
  .listen(3000);
