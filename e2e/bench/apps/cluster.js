'use strict';
// Node's cluster module around the app that is named: a worker for each of WORKERS, and another for one that has ended.
const cluster = require('cluster');
cluster.setupPrimary({ exec: process.argv[2] });
for (let i = 0; i < Number(process.env.WORKERS); i++) cluster.fork();
cluster.on('exit', () => cluster.fork());
