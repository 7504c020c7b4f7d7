'use strict';
// A broken release: it throws at start.
throw new Error('this release is broken');
