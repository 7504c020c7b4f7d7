# An app in mode socket: it serves the listening socket that it inherits, and sleeps ?ms= milliseconds before it answers.
import json, os, socket, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        time.sleep(int(parse_qs(urlsplit(self.path).query).get('ms', ['0'])[0]) / 1000)
        body = json.dumps({'node': os.environ['MESHNODE_NODE'], 'worker': os.environ['NODE_APP_INSTANCE'], 'pid': os.getpid()}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


server = ThreadingHTTPServer(('127.0.0.1', 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
