'use strict';
// One app with servers of every kind: two of HTTP, one of HTTPS, two of HTTP/2, one on a Unix path, one of UDP. All say who serves, after ?ms=
// milliseconds.
// Connections to the path are the kernel's to give, and meshnode does not know of them: the app finishes them itself when it is to stop.
const fs = require('fs');
const { KEY, CERT, SOCKET } = process.env;
const me = () => JSON.stringify({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, pid: process.pid });
const answer = (req, res) => {
  const ms = Number(new URL(req.url, 'http://app').searchParams.get('ms') || 0);
  if (ms > 0) setTimeout(() => res.end(me()), ms);
  else res.end(me());
};
const tls = { key: fs.readFileSync(KEY), cert: fs.readFileSync(CERT) };

require('http').createServer(answer).listen(3000);
require('http').createServer(answer).listen(3001);
require('https').createServer(tls, answer).listen(3443);
require('http2').createSecureServer({ ...tls, allowHTTP1: true }, answer).listen(3444);
require('http2').createServer(answer).listen(3445);
const local = require('http').createServer(answer).listen(SOCKET);
process.on('SIGTERM', () => local.close());
const udp = require('dgram').createSocket('udp4');
udp.on('message', (text, from) => udp.send(me(), from.port, from.address)).bind(3053);
