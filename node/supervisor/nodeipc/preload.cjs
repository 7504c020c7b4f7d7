'use strict';
// Loaded into every Node process and thread of a worker (switch off: -no-preload). Three things, and each fails towards plain Node:
//  - where meshnode speaks to this process, it answers "ping", and at "drain" has every further answer carry "Connection: close", and
//    HTTP/2 say GOAWAY, so that kept clients move to another worker by themselves and no connection is closed under a request on its way;
//  - a connection that another server forwarded carries its client's address, which the app sees as the socket's remote address;
//  - a server that would bind a TCP port past Node's cluster module (behind npm, tsx or node --watch, in a thread or a child of the
//    app, or with "exclusive") asks meshnode for its connections instead, over a socket of this process's own.
const { MESHNODE_WORKER, MESHNODE_CHANNEL, MESHNODE_IPC } = process.env;
delete process.env.MESHNODE_CHANNEL; // who is started by this process has no such channel
const ours = { cmd: 'NODE_MESHNODE' };
const ignore = () => {};

let draining = false;
const sessions = new Set(); // of HTTP/2, which has no "Connection: close": they are closed, when what is under way on them is done
function drain() {
  if (draining) return;
  draining = true;
  for (const session of sessions) session.close();
  try {
    require('diagnostics_channel').channel('http.server.request.start').subscribe(({ response }) => {
      response.shouldKeepAlive = false;
    });
  } catch {
    // Node before 15.1: no such channel; the drain ends by its deadline.
  }
}

// hear takes what concerns every process alike, and reports whether that was all.
function hear(message, handle, send) {
  if (message.cmd === ours.cmd) {
    if (message.act === 'ping') send({ ...ours, act: 'pong', n: message.n });
    else if (message.act === 'drain') drain();
    return true;
  }
  if (handle && message.act === 'newconn' && message.remote) {
    const { address, port, family } = message.remote;
    handle.getpeername = (out) => {
      out.address = address;
      out.port = port;
      out.family = family;
      return 0;
    };
  }
  return false;
}

if (MESHNODE_WORKER && MESHNODE_CHANNEL && process.channel) {
  const original = process.send;
  const send = (message) => original.call(process, message, undefined, undefined, ignore);
  process.prependListener('internalMessage', (message, handle) => { hear(message, handle, send); });
  send({ ...ours, act: 'hello', version: 1 });
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
      this.send({ ...ours, act: 'hello', version: 1 });
    }

    send(message) { if (this.socket.writable) this.socket.write(JSON.stringify(message) + '\n'); }

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
    if (/^Http2(Secure)?Server$/.test(this.constructor.name)) {
      this.on('session', (session) => {
        sessions.add(session);
        session.once('close', () => sessions.delete(session));
        if (draining) session.close();
      });
    }
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
