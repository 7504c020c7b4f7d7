'use strict';
// Loaded into every Node worker that meshnode starts (switch off: -no-preload). It changes nothing until meshnode asks:
//  - "drain": every further answer carries "Connection: close", so that keep-alive clients move to another worker by
//    themselves and no connection is closed under a request that is on its way;
//  - a connection that another server forwarded carries its client's address, which the app sees as the socket's remote address.
if (process.env.MESHNODE_WORKER && process.channel) {
  process.prependListener('internalMessage', (message, handle) => {
    if (message.cmd === 'NODE_MESHNODE' && message.act === 'drain') {
      try {
        require('diagnostics_channel').channel('http.server.request.start').subscribe(({ response }) => {
          response.shouldKeepAlive = false;
        });
      } catch {
        // Node before 15.1: no such channel; the drain ends by its deadline.
      }
    } else if (handle && message.act === 'newconn' && message.remote) {
      const { address, port, family } = message.remote;
      handle.getpeername = (out) => {
        out.address = address;
        out.port = port;
        out.family = family;
        return 0;
      };
    }
  });
}
