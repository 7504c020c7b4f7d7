'use strict';
// The app of the upgrade tests: what plain.js does, a counter on its output every 10 ms, and an echo on port 3001 for connections that last.
require('./plain.js');
let n = 0;
setInterval(() => console.log(`count ${process.pid} ${n++}`), 10);
require('net').createServer((c) => c.on('error', () => c.destroy()).pipe(c)).listen(3001);
