"""A small Hub on loopback: repositories as commits of trees of blobs, by the calls that huggingface_hub makes.

It speaks HTTP/1.1 with chunked bodies, keeps what it was sent, knows tokens and private repositories, and can be made
to fail at any call: with a status, or by hanging up, before or after the call had its effect.
"""

import contextlib
import copy
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.release.hub_calls import Answer
from tests.release.hub_repos import ATTRIBUTES, LFS_SUFFIXES, Blob, Refusal, Repo


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the call `at`, counted from 0: a status, or 0 for hanging up. `body` is an answer to send
    instead, with `headers`; `slow_s` is how long (seconds) the answer takes."""

    at: int
    status: int = 0
    after: bool = False
    lasting: bool = False
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    slow_s: float = 0.0

    def strikes(self, index: int) -> bool:
        return index == self.at or (self.lasting and index > self.at)


class HubServer:
    """`with HubServer() as hub:` serves at `hub.url`. Tokens: {token: (user, role)}; a user may write to `org`, too."""

    def __init__(self, org: str = "org") -> None:
        self.org = org
        self.repos: dict[tuple[str, str], Repo] = {}
        self.tokens = {
            "hf_writer": ("writer", "write"),
            "hf_reader": ("reader", "read"),
            "hf_fine": ("fine", "fineGrained"),
        }
        self.calls: list[str] = []
        self.fault: Fault | None = None
        self.on_call: Callable[[int], None] = lambda index: None
        self.page_size = 1000
        self.uploaded = 0
        self.force_public = self.force_private = False
        self.renamed: dict[str, str] = {}
        self.datasets: list[dict[str, Any]] = []
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def state(self) -> Any:
        """What is kept, to be put back by `restore`."""
        with self.lock:
            return copy.deepcopy(self.repos)

    def restore(self, state: Any) -> None:
        with self.lock:
            self.repos, self.calls, self.fault, self.on_call = copy.deepcopy(state), [], None, lambda index: None

    def mains(self) -> dict[str, dict[str, str]]:
        """What readers of every main see, by repository."""
        with self.lock:
            return {name: repo.listing() for (_, name), repo in self.repos.items()}

    def repo(self, name: str, kind: str = "model") -> Repo:
        return self.repos[kind, name]

    def add(self, name: str, files: dict[str, bytes], kind: str = "model", private: bool = False) -> Repo:
        """A repository that somebody else made."""
        repo = Repo(private)
        tree = {".gitattributes": Blob(ATTRIBUTES, False)}
        tree |= {path: Blob(content, path.endswith(LFS_SUFFIXES)) for path, content in files.items()}
        repo.commit("main", tree)
        self.repos[kind, name] = repo
        return repo


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write per answer: two small ones would wait for each other's acknowledgement

    def log_message(self, format: str, *arguments: Any) -> None:
        """In silence."""

    def _serve(self) -> None:
        with self.hub.lock:
            index = len(self.hub.calls)
            self.hub.calls.append(f"{self.command} {self.path}")
            fault = self.hub.fault
        struck = fault is not None and fault.strikes(index)
        if struck and fault is not None and not fault.after and fault.status == 0:
            return self._fail(fault)  # in the midst of what it is being sent
        self._body = self._read()
        self.hub.on_call(index)
        if struck and fault is not None and not fault.after:
            return self._fail(fault)
        answer = self._answer()
        if struck and fault is not None:
            return self._fail(fault)
        self._send(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _fail(self, fault: Fault) -> None:
        if fault.status == 0:
            self.close_connection = True
            self.connection.close()
            return
        if fault.slow_s:
            threading.Event().wait(fault.slow_s)  # the tests leave out what time.sleep waits
        if fault.body is not None:
            return self._send(fault.status, fault.body, {"Content-Type": "text/html", **dict(fault.headers)})
        self._send(fault.status, {"error": "made to fail"}, {"X-Error-Message": "made to fail", **dict(fault.headers)})

    def _answer(self) -> tuple[int, Any, dict[str, str]]:
        try:
            with self.hub.lock:
                answer = Answer(self.hub, self.command, self.path, self.headers, self._body).give()
            return (200, *answer)
        except Refusal as refusal:
            headers = {"X-Error-Message": str(refusal)} | ({"X-Error-Code": refusal.code} if refusal.code else {})
            return refusal.status, {"error": str(refusal)}, headers

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        with contextlib.suppress(OSError):  # the other side may have been killed
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)
            self.wfile.flush()
