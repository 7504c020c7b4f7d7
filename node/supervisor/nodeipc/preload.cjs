'use strict';
// Loaded into every Node process and thread of a worker (switch off: -no-preload). Four things, and each fails towards plain Node:
//  - where meshnode speaks to this process, it reports how busy its event loop is, and which connections it has accepted by itself;
//  - there, it answers "ping", and at "drain" and "part" has further answers carry "Connection: close", and
//    HTTP/2 say GOAWAY, so that kept clients move by themselves and no connection is closed under a request on its way;
//  - a connection that another server forwarded carries its client's address, which the app sees as the socket's remote address, and
//    what that server is to be told at the moment when a server of the app takes it;
//  - a server that would bind a TCP port past Node's cluster module (behind npm, tsx or node --watch, in a thread or a child of the
//    app, or with "exclusive") asks meshnode for its connections instead, over a socket of this process's own.
const { MESHNODE_WORKER, MESHNODE_CHANNEL, MESHNODE_IPC } = process.env;
delete process.env.MESHNODE_CHANNEL; // who is started by this process has no such channel
const ours = { cmd: 'NODE_MESHNODE' };
const ignore = () => {};
const { writeSync } = require('fs');
const { setInterval, setTimeout, clearInterval } = globalThis; // an app's tests may put other clocks in their place

// Reporter tells meshnode how this process is: at once where it matters, else as often as below, and by that it gives a sign of life.
const often = 50; // ms between two reports while something changes
const soonest = 5; // ms, the same, where connections take as long, or it is not known yet whether they do,
const few = 8; // and are no more than these in the longer period: one makes no difference among many
const rarely = 2; // of these, while nothing does
const utilisation = () => {
  try {
    return require('perf_hooks').performance.eventLoopUtilization();
  } catch {
    return { active: 0, idle: 0 }; // Node before 14.10
  }
};
class Reporter {
  constructor(send) {
    this.send = send;
    this.quiet = 0;
    this.said = '';
    this.sending = false;
    this.timer = setInterval(() => this.look(), often);
    this.timer.unref();
  }

  look() {
    accepts.due = true;
    accepts.few = few;
    if (this.sending) return; // meshnode does not read; it does not matter what it misses
    const now = accepts.figures();
    const changed = now.open + ' ' + now.all;
    if (changed === this.said && ++this.quiet < rarely) return;
    this.said = changed;
    this.tell(now);
  }

  tell({ all, ...figures } = accepts.figures()) {
    this.quiet = 0;
    this.sending = true;
    const { active, idle } = utilisation();
    this.send({ ...ours, act: 'load', load: { ...figures, active, idle } }, () => { this.sending = false; });
  }

  end() { clearInterval(this.timer); }
}

// accepts are the listening sockets that meshnode gave to this process, by their handles, and what came from them. The count of a server's
// connections is Node's own; those that were passed to it one by one are counted apart, and taken off.
const accepts = {
  keys: new WeakMap(), // of handles that are given to a server in a moment
  sockets: new Map(), // by key
  left: new Set(), // those whose servers have closed
  taken: {}, // by key
  all: 0,
  timed: 0, // connections whose time was taken: one at most in each period
  spent: 0,
  due: true,
  shut: false,
  epoch: 0, // of meshnode's lives
  told: ignore, // reports
  few,
  telling: false,
  last: 0, // when
  passed: null, // the handle that is passed at this moment

  figures() {
    let open = 0;
    let held = false;
    for (const socket of this.left) if (!(socket.server._connections > 0)) this.left.delete(socket);
    for (const socket of [...this.sockets.values(), ...this.left]) {
      open += Math.max(0, socket.server._connections - socket.passed);
      held = held || socket.server.maxConnections != null;
    }
    const { taken, timed, spent, shut, all } = this;
    return { open, taken, timed, spent, held, shut, all };
  },

  // begin follows what a server accepts.
  begin(key, server, handle) {
    const before = this.sockets.get(key);
    if (before) this.left.add(before);
    const socket = { server, handle, passed: 0, shut: false };
    this.sockets.set(key, socket);
    this.taken[key] = this.taken[key] || 0;
    const { onconnection } = handle;
    handle.onconnection = function (error, client) {
      if (client !== accepts.passed && !error) {
        accepts.taken[key]++;
        accepts.all++;
        if (accepts.due) accepts.time(client);
        if (accepts.few > 0 && (accepts.timed === 0 || accepts.spent >= soonest * accepts.timed)) {
          accepts.few--;
          accepts.soon();
          whenClosed(client, () => accepts.soon());
        }
      }
      return onconnection.apply(this, arguments);
    };
    if (this.shut) this.stop(socket);
  },

  // soon has all reported in a moment: one connection more or less makes a difference here.
  soon() {
    if (this.telling) return;
    this.telling = true;
    setTimeout(() => {
      this.telling = false;
      this.last = Date.now();
      this.told();
    }, Math.min(Math.max(this.last + soonest - Date.now(), 1), soonest)).unref();
  },

  time(client) {
    this.due = false;
    const since = process.hrtime();
    whenClosed(client, () => {
      this.timed++;
      const [s, ns] = process.hrtime(since);
      this.spent += s * 1e3 + ns / 1e6;
    });
  },

  // pass takes note of a connection that meshnode passes to a server here.
  pass(key, client) {
    this.passed = client;
    const socket = this.sockets.get(key);
    if (!socket) return;
    const { epoch } = this;
    socket.passed++;
    whenClosed(client, () => { if (epoch === this.epoch) socket.passed--; });
  },

  // adopt counts all that is open as our own: another life of meshnode does not know what the one before has passed.
  adopt() {
    this.epoch++;
    for (const socket of [...this.sockets.values(), ...this.left]) socket.passed = 0;
  },

  // stop closes a listening socket under its server, which goes on with what is passed to it.
  stop(socket) {
    if (socket.shut) return;
    socket.shut = true;
    const { handle } = socket;
    const name = {};
    const failed = handle.getsockname(name);
    handle.getsockname = (out) => { Object.assign(out, name); return failed; };
    Object.getPrototypeOf(handle).close.call(handle);
  },

  stopAll() {
    this.shut = true;
    for (const socket of this.sockets.values()) this.stop(socket);
  },
};

function whenClosed(handle, then) {
  const { close } = handle;
  let open = true;
  handle.close = function () {
    if (open) then();
    open = false;
    return close.apply(this, arguments);
  };
}

// Clients are asked to leave by a word that each protocol has: "Connection: close" with the next answer; or GOAWAY, and what is under way is finished.
// All are when meshnode says drain; when it says part, those that came by another server, which is about to stop: they come back by whichever door
// is open.
let draining = false;
let parted = 0; // how often meshnode has said so
const forwarded = new WeakMap(); // of the handles of connections that came by another server: how often it had before they came
const sessions = new Map(); // of HTTP/2: their handles
let asking = false;

function leaves(handle) {
  if (draining) return true;
  return (forwarded.get(handle) ?? forwarded.get(handle?._parent)) < parted; // TLS lies over the connection's own
}

function ask() {
  for (const [session, handle] of sessions) if (leaves(handle)) session.close();
  if (asking) return;
  asking = true;
  try {
    require('diagnostics_channel').channel('http.server.request.start').subscribe(({ socket, response }) => {
      if (leaves(socket._handle)) response.shouldKeepAlive = false;
    });
  } catch {
    // Node before 15.1: no such channel; clients are cut when they have been waited for long enough.
  }
}

function drain() {
  draining = true;
  ask();
}

function part() {
  parted++;
  ask();
}

// follow keeps account of a server's sessions, if they are of HTTP/2.
function follow(server) {
  if (!/^Http2(Secure)?Server$/.test(server.constructor.name)) return;
  server.on('session', (session) => {
    if (session.destroyed) return;
    const handle = session.socket._handle;
    sessions.set(session, handle);
    session.once('close', () => sessions.delete(session));
    if (leaves(handle)) session.close();
  });
}

// hear takes what concerns every process alike, and reports whether that was all.
function hear(message, handle, send) {
  if (message.cmd === ours.cmd) {
    if (message.act === 'ping') send({ ...ours, act: 'pong', n: message.n, says: true });
    else if (message.act === 'drain') drain();
    else if (message.act === 'part') part();
    else if (message.act === 'adopt') accepts.adopt();
    return true;
  }
  if (handle && message.act === 'newconn' && message.remote) {
    const { address, port, family } = message.remote;
    forwarded.set(handle, parted);
    handle.getpeername = (out) => {
      out.address = address;
      out.port = port;
      out.family = family;
      return 0;
    };
  }
  if (handle && message.act === 'newconn' && message.say) sayFirst(handle, Buffer.from(message.say, 'base64'));
  return false;
}

// sayFirst writes to a connection when a socket of Node's is made of it: then a server has taken it, and the app has not seen it yet.
function sayFirst(handle, words) {
  Object.defineProperty(handle, 'onread', {
    configurable: true,
    get: () => undefined,
    set: (onread) => {
      delete handle.onread;
      try {
        writeSync(handle.fd, words);
      } catch {
        // The other server is gone, and with it the client: the app will see that.
      }
      handle.onread = onread;
    },
  });
}

if (MESHNODE_WORKER && MESHNODE_CHANNEL && process.channel) {
  const original = process.send;
  const send = (message, done = ignore) => original.call(process, message, undefined, undefined, done);
  const reporter = new Reporter(send);
  accepts.told = () => reporter.tell();
  process.prependListener('internalMessage', (message, handle) => {
    if (hear(message, handle, send)) {
      if (message.act === 'drain' || message.act === 'shut') {
        accepts.stopAll();
        reporter.tell();
      }
      return;
    }
    if (!handle || message.cmd !== 'NODE_CLUSTER') return;
    if (message.act === 'newconn') accepts.pass(message.key, handle);
    else if (message.errno === 0 && handle.constructor.name === 'TCP') accepts.keys.set(handle, message.key);
  });
  const { Server } = require('net');
  const listen2 = Server.prototype._listen2;
  Server.prototype._listen2 = function (...args) {
    const handle = this._handle;
    const key = handle ? accepts.keys.get(handle) : undefined;
    if (key === undefined) return listen2.apply(this, args);
    args[3] = 0x7fffffff; // as many may wait as the kernel allows: nobody else can take them
    const out = listen2.apply(this, args);
    if (this._handle === handle) {
      accepts.begin(key, this, handle);
      this.once('close', () => reporter.tell());
      reporter.tell();
    }
    return out;
  };
  send({ ...ours, act: 'hello', version: 2, says: true });
}

if (MESHNODE_WORKER && MESHNODE_IPC) {
  const net = require('net');
  const { StringDecoder } = require('string_decoder');
  const listen2 = net.Server.prototype._listen2;
  let link = null;
  const again = 100; // ms between two tries to reach meshnode anew
  const patience = 30000; // ms until a server that nobody comes back for is given up
  const gone = 1000; // ms the same, when not even the socket's name is left

  // Link is this process's own socket to meshnode, and speaks as a cluster worker's channel does.
  class Link {
    constructor() {
      this.seq = 0;
      this.refs = 0;
      this.asked = new Map(); // by number: what waits for its answer
      this.servers = new Map(); // by key
      this.handles = []; // connections whose message is still to be read
      this.decoder = new StringDecoder('utf8');
      this.text = '';
      this.leaving = false;
      const probe = new net.Socket(); // knows the class of Node's pipes, which has no public name
      probe.on('error', ignore).connect({ path: '/' });
      const Pipe = probe._handle.constructor;
      probe.destroy();
      const pipe = new Pipe(2); // one that descriptors come over
      this.socket = new net.Socket({ handle: pipe, readable: true, writable: true, manualStart: true });
      this.socket.on('data', (data) => {
        if (pipe.pendingHandle) this.handles.push(pipe.pendingHandle);
        pipe.pendingHandle = null;
        this.read(this.decoder.write(data));
      });
      this.socket.on('error', ({ code }) => { this.code = code; }).once('close', () => this.lost());
      this.socket.connect({ path: MESHNODE_IPC });
      this.send({ ...ours, act: 'hello', version: 2, says: true });
      this.reporter = new Reporter((message, done) => this.send(message, done));
    }

    send(message, done) { if (this.socket.writable) this.socket.write(JSON.stringify(message) + '\n', done); }

    cluster(message) {
      this.send({ cmd: 'NODE_CLUSTER', ...message, seq: ++this.seq });
      return this.seq;
    }

    hold(n) { // while a server listens, or waits to, the process lives
      this.refs += n;
      if (this.refs > 0) this.socket.ref();
      else this.socket.unref();
    }

    read(data) {
      const lines = (this.text + data).split('\n');
      this.text = lines.pop();
      for (const line of lines) {
        const message = JSON.parse(line);
        if (message.cmd !== 'NODE_HANDLE') {
          this.take(message);
          continue;
        }
        const handle = this.handles.shift();
        this.send({ cmd: handle ? 'NODE_HANDLE_ACK' : 'NODE_HANDLE_NACK' });
        if (handle) this.take(message.msg, handle);
      }
    }

    take(message, handle) {
      if (message.cmd === ours.cmd && message.act === 'message') process.emit('message', message.body);
      else if (hear(message, handle, (answer) => this.send(answer))) return;
      else if (message.act === 'newconn') this.connection(message, handle);
      else if (message.act === 'disconnect') this.disconnect();
      else if (this.asked.has(message.ack)) {
        const { answered } = this.asked.get(message.ack);
        this.asked.delete(message.ack);
        answered(message);
      }
    }

    connection({ key, seq }, handle) {
      const server = this.servers.get(key);
      const owner = server?.owner;
      const accepted = server !== undefined && !(owner.maxConnections != null && owner._connections >= owner.maxConnections);
      this.cluster({ ack: seq, accepted });
      if (accepted) server.onconnection(0, handle);
      else handle.close();
    }

    disconnect() {
      this.leaving = true;
      this.reporter.end();
      for (const { owner, close } of this.servers.values()) {
        if (owner._handle) owner.close();
        else close();
      }
      this.socket.end();
      if (link === this) link = null;
    }

    // lost is the end of this link. What was asked is answered by the system; servers that listen look for meshnode's next life.
    lost() {
      if (link === this) link = null;
      this.reporter.end();
      const since = Date.now();
      for (const { failed } of this.asked.values()) failed(this.code);
      if (this.leaving) return;
      for (const handle of this.servers.values()) resume(handle, since);
    }

    // listens asks once more for the connections of a server that listens already.
    listens(handle, since) {
      this.hold(1);
      const seq = this.cluster({ act: 'queryServer', index: 0, data: null, ...handle.query });
      this.asked.set(seq, {
        failed: (code) => resume(handle, since, code),
        answered: ({ errno, key }) => {
          if (errno) {
            end();
            return;
          }
          handle.link = this;
          this.servers.set(key, handle);
          if (!handle.hasRef()) this.hold(-1);
          this.cluster({ act: 'listening', key, port: handle.query.port });
          if (!handle.isOpen()) handle.release();
        },
      });
    }

    // listen asks for the connections of server. The server gets a handle that looks as Node's own in a cluster worker.
    listen(server, query, failed) {
      this.hold(1);
      if (server._getServerData) query.data = server._getServerData();
      const seq = this.cluster({ act: 'queryServer', index: 0, data: null, ...query });
      this.asked.set(seq, {
        failed,
        answered: ({ errno, key, data, sockname }) => {
          if (errno) {
            this.hold(-1);
            server.emit('error', bindError(errno, query));
            return;
          }
          if (data && server._setServerData) server._setServerData(data);
          server._handle = this.handle(server, key, sockname, query);
          server.once('listening', () => this.cluster({ act: 'listening', key, port: query.port }));
          listen2.call(server, query.address, query.port, query.addressType, query.backlog, undefined, query.flags);
        },
      });
    }

    handle(owner, key, sockname, query) {
      let held = true;
      let open = true;
      const hold = (want) => {
        if (want !== held) handle.link.hold(want ? 1 : -1);
        held = want;
      };
      const handle = {
        owner,
        query,
        link: this,
        onconnection: ignore,
        listen: () => 0,
        ref: () => hold(open),
        unref: () => hold(false),
        hasRef: () => held,
        isOpen: () => open,
        getsockname: (out) => { Object.assign(out, sockname); return 0; },
        release: () => {
          handle.link.servers.delete(key);
          handle.link.cluster({ act: 'close', key });
        },
        close: () => {
          if (!open) return;
          open = false;
          hold(false);
          handle.release();
        },
      };
      this.servers.set(key, handle);
      return handle;
    }
  }

  // resume looks for meshnode until it is there again, or the server is given up: its process ends as a cluster worker's does.
  function resume(handle, since, code) {
    if (!handle.isOpen()) return;
    if (Date.now() - since > (code === 'ENOENT' ? gone : patience)) {
      end();
      return;
    }
    setTimeout(() => {
      link ??= new Link();
      link.listens(handle, since);
    }, again);
  }

  let ending = false;
  function end() {
    if (ending) return;
    ending = true;
    setTimeout(ignore, 1000); // the signal is heard only while something goes on
    process.kill(process.pid, 'SIGTERM');
  }

  function bindError(errno, { address, port }) {
    const code = require('util').getSystemErrorName(errno);
    const where = `${address ?? '::'}:${port}`;
    return Object.assign(new Error(`listen ${code}: ${where}`), { code, errno, syscall: 'listen', address: address ?? '::', port });
  }

  net.Server.prototype._listen2 = function (...args) {
    follow(this);
    const [address, port, addressType, backlog, fd, flags] = args;
    const plain = () => listen2.apply(this, args);
    if (this._handle || !(port > 0) || fd >= 0) return plain(); // any free port is private to who asked
    try {
      link ??= new Link();
    } catch {
      return plain(); // a Node that is not as we know it
    }
    return link.listen(this, { address: address || null, port, addressType, backlog, flags }, plain);
  };
}
