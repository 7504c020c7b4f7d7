"""A WSGI app for gunicorn: it says who it is. /?ms=300 takes its time."""
import json
import os
import time
from urllib.parse import parse_qs


def app(environ, start_response):
    time.sleep(int(parse_qs(environ["QUERY_STRING"]).get("ms", ["0"])[0]) / 1000)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"node": os.environ["MESHNODE_NODE"], "worker": os.environ["NODE_APP_INSTANCE"], "pid": os.getpid(),
                        "remote": environ.get("REMOTE_ADDR", "")}).encode()]
