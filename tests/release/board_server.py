"""The part of the Hub that knows benchmarks, over real HTTP: official data sets, their eval.yaml, and their boards."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def serving(files: dict[str, bytes], boards: dict[str, Any], broken: dict[str, int] | None = None) -> Iterator[str]:
    """The address of a Hub with an official data set for each of `files` (id to eval.yaml). A path that holds a key of
    `broken` is answered with that status."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            status = next((code for part, code in (broken or {}).items() if part in path), 0)
            if status:
                self._send(status, b"{}")
            elif path == "/api/datasets":
                self._send(200, json.dumps([{"id": name, "_id": str(at)} for at, name in enumerate(files)]).encode())
            elif path.endswith("/resolve/main/eval.yaml"):
                name = path.removeprefix("/datasets/").removesuffix("/resolve/main/eval.yaml")
                self._send(200, files[name], {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'})
            elif path.endswith("/leaderboard"):
                found = boards.get(path.removeprefix("/api/datasets/").removesuffix("/leaderboard"))
                self._send(404 if found is None else 200, json.dumps(found).encode())
            else:
                self._send(404, b"{}")

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"X-Repo-Commit": "a" * 40, **(headers or {})}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def entries(*values: Any) -> list[dict[str, Any]]:
    """A board's entries."""
    author = {"_id": "1", "name": "org", "fullname": "Org", "type": "org", "avatarUrl": ""}
    return [
        {"rank": at, "modelId": f"org/m{at}", "value": value, "filename": "a.yaml", "verified": False, "author": author}
        for at, value in enumerate(values, 1)
    ]
