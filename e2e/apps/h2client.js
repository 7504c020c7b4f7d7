'use strict';
// A client of HTTP/2 as a program has one that knows what the protocol says: it keeps a session, opens another when it is asked to leave, and
// repeats what the server says it has not looked at. Arguments: pairs of addresses, a door and the one to go to where the door is closed. At
// SIGTERM it waits for what is under way, and says how all went.
const http2 = require('http2');
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_NO_ERROR } = http2.constants;
const out = { sent: 0, answered: 0, repeated: 0, left: 0, elsewhere: 0, failed: [] };
let underway = 0;
let over = false;

class Client {
  constructor(door, other) {
    this.door = door;
    this.other = other;
    this.open(door);
    this.timer = setInterval(() => { out.sent++; this.ask(out.sent % 10 === 0 ? 300 : 5); }, 10);
  }

  open(url) {
    const session = http2.connect(url, { rejectUnauthorized: false });
    this.session = session;
    const next = (url) => { if (this.session === session && !over) this.open(url); };
    session.once('goaway', (code) => {
      if (code === NGHTTP2_NO_ERROR) out.left++;
      next(this.door);
    });
    session.on('error', (e) => {
      if (e.code !== 'ECONNREFUSED' || url !== this.door) out.failed.push('session: ' + e.message);
      else out.elsewhere++;
      next(this.other);
    });
    session.once('close', () => next(this.door));
  }

  ask(ms) {
    underway++;
    const { session } = this;
    let body = '';
    let stream;
    try {
      stream = session.request({ ':path': '/?ms=' + ms });
    } catch (e) {
      this.ended(ms, e.code === 'ERR_HTTP2_GOAWAY_SESSION' || e.code === 'ERR_HTTP2_INVALID_SESSION', e.message);
      return;
    }
    let problem = '';
    stream.setEncoding('utf8').on('error', (e) => { problem = e.message; }).on('data', (text) => { body += text; });
    stream.on('close', () => {
      if (body.endsWith('}')) {
        underway--;
        out.answered++;
        return;
      }
      // Without a connection nothing was sent either.
      this.ended(ms, body === '' && (stream.rstCode === NGHTTP2_REFUSED_STREAM || session.connecting || /ECONNREFUSED/.test(problem)), problem);
    });
  }

  ended(ms, unseen, problem) {
    underway--;
    if (unseen) {
      out.repeated++;
      setTimeout(() => this.ask(ms), 5);
    } else {
      out.failed.push(problem || 'no whole answer');
    }
  }
}

const clients = [];
for (let i = 2; i + 1 < process.argv.length; i += 2) clients.push(new Client(process.argv[i], process.argv[i + 1]));
process.on('SIGTERM', () => {
  for (const { timer } of clients) clearInterval(timer);
  setInterval(() => {
    if (underway > 0) return;
    over = true;
    console.log(JSON.stringify(out));
    process.exit();
  }, 10);
});
setTimeout(() => console.log('warm'), 500);
