'use strict';
// Waits for the file in GO, then writes LINES lines of 100 bytes as fast as it can, and leaves how long that took in RESULT.<pid> (milliseconds).
const fs = require('fs');
const http = require('http');

const server = http.createServer((req, res) => {
  res.end(`answer ${new URL(req.url, 'http://bench').searchParams.get('n')} from ${process.pid}\n`);
});
server.listen(Number(process.env.APP_PORT || 0));
const text = 'x'.repeat(91);
const wait = setInterval(() => {
  if (!fs.existsSync(process.env.GO)) return;
  clearInterval(wait);
  const begun = process.hrtime.bigint();
  const lines = Number(process.env.LINES);
  for (let i = 0; i < lines; i++) process.stdout.write(`${String(i).padStart(8, '0')}${text}\n`);
  process.stdout.write('', 'utf8', () => {
    const took = Number(process.hrtime.bigint() - begun) / 1e6;
    const file = `${process.env.RESULT}.${process.pid}`;
    fs.writeFileSync(file + '.part', String(took));
    fs.renameSync(file + '.part', file);
    if (process.env.ALONE === '1') server.close();
  });
}, 20);
