'use strict';
// A broken release: it runs, and never listens.
setInterval(() => {}, 1000);
