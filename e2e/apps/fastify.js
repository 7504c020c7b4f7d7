'use strict';
const app = require('fastify')();
app.get('/', async (req) => ({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, remote: req.ip }));
app.listen({ port: 3000, host: '0.0.0.0' });
