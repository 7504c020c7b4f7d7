'use strict';
const app = require('express')();
app.get('/', (req, res) => res.json({ node: process.env.MESHNODE_NODE, worker: process.env.NODE_APP_INSTANCE, remote: req.ip }));
app.listen(3000);
