<?php
// A page for PHP's own server: it says who it is. /?ms=300 takes its time.
usleep(1000 * (int) ($_GET['ms'] ?? 0));
header('Content-Type: application/json');
echo json_encode(['node' => getenv('MESHNODE_NODE'), 'worker' => getenv('NODE_APP_INSTANCE'), 'pid' => getmypid(), 'remote' => $_SERVER['REMOTE_ADDR']]);
