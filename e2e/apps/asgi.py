"""An ASGI app for uvicorn: it says who it is. /?ms=300 takes its time."""
import asyncio
import json
import os
from urllib.parse import parse_qs


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(int(parse_qs(scope["query_string"].decode()).get("ms", ["0"])[0]) / 1000)
    body = json.dumps({"node": os.environ["MESHNODE_NODE"], "worker": os.environ["NODE_APP_INSTANCE"], "pid": os.getpid(),
                       "remote": (scope.get("client") or [""])[0]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
