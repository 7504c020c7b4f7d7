'use strict';
// A UDP app on port 3002: it answers each datagram with its text and its process.
const dgram = require('dgram');
const s = dgram.createSocket('udp4');
s.on('message', (m, from) => s.send(`${m} ${process.pid}`, from.port, from.address));
s.bind(3002);
