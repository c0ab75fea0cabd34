"""A small Hub on loopback: repositories as commits of trees of blobs, by the calls that huggingface_hub makes.

It speaks HTTP/1.1 with chunked bodies, keeps what it was sent, knows tokens and private repositories, and can be made
to fail at any call: with a status, or by hanging up, before or after the call had its effect.
"""

import base64
import contextlib
import copy
import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin")
LFS_FROM_BYTES = 10_000_000
ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"


class Refusal(Exception):
    """An answer with a status other than 200."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True)
class Blob:
    """A file; `lfs` says that git itself holds a pointer only."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self) -> str:
        data = self.content
        if self.lfs:
            data = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
                self.sha256.encode(),
                len(self.content),
            )
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def row(self, path: str) -> dict[str, Any]:
        row: dict[str, Any] = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.lfs:
            row["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 130}
        return row


@dataclass
class Repo:
    """`commits` maps a commit to its tree, `branches` and `tags` map names to commits."""

    private: bool
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    lfs: dict[str, bytes] = field(default_factory=dict)

    def commit(self, branch: str, tree: dict[str, Blob]) -> str:
        parent = self.branches.get(branch, "")
        facts = [parent, len(self.commits), sorted((path, blob.oid) for path, blob in tree.items())]
        name = hashlib.sha1(json.dumps(facts).encode()).hexdigest()
        self.commits[name] = tree
        self.branches[branch] = name
        return name

    def at(self, revision: str) -> str:
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        if revision in self.commits:
            return revision
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def tree(self, revision: str = "main") -> dict[str, Blob]:
        return self.commits[self.at(revision)]

    def listing(self, revision: str = "main") -> dict[str, str]:
        """Every file's sha256: what a reader of the revision sees."""
        return {path: blob.sha256 for path, blob in sorted(self.tree(revision).items())}


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
                answer = _Answer(self.hub, self.command, self.path, self.headers, self._body).give()
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


class _Answer:
    """One call's effect and answer: a body, and headers."""

    def __init__(self, hub: HubServer, method: str, path: str, headers: Any, body: bytes) -> None:
        self.hub, self.method, self.body = hub, method, body
        url = urlsplit(path)
        self.path, self.query = url.path, parse_qs(url.query)
        token = (headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in hub.tokens:
            raise Refusal(401, "Invalid credentials in Authorization header")
        self.user, self.role = hub.tokens.get(token, ("", "none"))

    def give(self) -> tuple[Any, dict[str, str]]:
        for pattern, method, act in _ROUTES:
            found = re.fullmatch(pattern, self.path)
            if found and self.method in method.split():
                return act(self, *(unquote(group or "") for group in found.groups()))
        raise Refusal(404, "Sorry, there is nothing here")

    def json(self) -> Any:
        return json.loads(self.body)

    def found(self, kind: str, name: str, *, write: bool = False) -> Repo:
        repo = self.hub.repos.get((kind.rstrip("s") or "model", self.hub.renamed.get(name, name)))
        if repo is None or (repo.private and not self.user):
            raise Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if write and self.role != "write":
            raise Refusal(403, "you must use a write token")
        return repo

    def whoami(self) -> tuple[Any, dict[str, str]]:
        if not self.user:
            raise Refusal(401, "Invalid username or password.")
        token: dict[str, Any] = {"displayName": "t", "role": self.role}
        if self.role == "fineGrained":
            entity = {"_id": "1", "type": "org", "name": self.hub.org}
            token["fineGrained"] = {
                "canReadGatedRepos": True,
                "global": ["discussion.write"],
                "scoped": [{"entity": entity, "permissions": ["repo.content.read"]}],
            }
        auth = {"type": "access_token", "accessToken": token}
        return {"type": "user", "name": self.user, "orgs": [{"name": self.hub.org}], "auth": auth}, {}

    def create(self) -> tuple[Any, dict[str, str]]:
        asked = self.json()
        kind, name = asked.get("type", "model"), f"{asked['organization'] or self.user}/{asked['name']}"
        if self.role != "write" or asked["organization"] not in (None, self.user, self.hub.org):
            raise Refusal(403, "You don't have the rights to create a repository under this namespace")
        if (kind, name) in self.hub.repos:
            raise Refusal(409, "You already created this repo")
        private = (asked.get("visibility") == "private" and not self.hub.force_public) or self.hub.force_private
        repo = self.hub.repos[kind, name] = Repo(private)
        repo.commit("main", {".gitattributes": Blob(ATTRIBUTES, False)})
        return {"url": f"{self.hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"}, {}

    def check_yaml(self) -> tuple[Any, dict[str, str]]:
        head = re.match(r"---\n(.*?)\n---", self.json()["content"], re.DOTALL)
        try:
            data = yaml.safe_load(head[1]) if head else {}
        except yaml.YAMLError as error:
            raise Refusal(400, f"Invalid metadata: {error}") from error
        if not isinstance(data, dict):
            raise Refusal(400, "Invalid metadata")
        return {"errors": [], "warnings": [] if data else [{"message": "empty or missing yaml metadata"}]}, {}

    def info(self, kind: str, name: str, revision: str) -> tuple[Any, dict[str, str]]:
        repo = self.found(kind, name)
        at = repo.at(revision or "main")
        files = [{"rfilename": path} for path in repo.commits[at]]
        return {
            "id": self.hub.renamed.get(name, name),
            "_id": "1",
            "sha": at,
            "private": repo.private,
            "siblings": files,
        }, {}

    def refs(self, kind: str, name: str) -> tuple[Any, dict[str, str]]:
        repo = self.found(kind, name)

        def rows(names: dict[str, str], kind: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": at} for n, at in names.items()]

        return {"branches": rows(repo.branches, "heads"), "converts": [], "tags": rows(repo.tags, "tags")}, {}

    def listed(self, kind: str, name: str, revision: str, folder: str) -> tuple[Any, dict[str, str]]:
        tree = self.found(kind, name).tree(revision)
        rows = {path: blob.row(path) for path, blob in tree.items()}
        above = {"/".join(path.split("/")[:i]) for path in tree for i in range(1, path.count("/") + 1)}
        rows |= {path: {"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in above}
        if folder and folder not in above:
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        deep = self.query.get("recursive", ["false"])[0].lower() == "true"
        inside = [path for path in sorted(rows) if not folder or path.startswith(f"{folder}/")]
        shown = [rows[path] for path in inside if deep or "/" not in path[len(folder) :].strip("/")]
        start = int(self.query.get("cursor", ["0"])[0])
        end = start + self.hub.page_size
        if end >= len(shown):
            return shown[start:], {}
        more = f"{self.hub.url}{self.path}?recursive={deep}&expand=False&cursor={end}"
        return shown[start:end], {"Link": f'<{more}>; rel="next"'}

    def paths_info(self, kind: str, name: str, revision: str) -> tuple[Any, dict[str, str]]:
        tree, asked = self.found(kind, name).tree(revision), parse_qs(self.body.decode())["paths"]
        return [tree[path].row(path) for path in asked if path in tree], {}

    def preupload(self, kind: str, name: str, revision: str) -> tuple[Any, dict[str, str]]:
        tree, rows, asked = self.found(kind, name, write=True).tree(revision), [], self.json()
        kept = tree[".gitignore"].content.decode() if ".gitignore" in tree else ""
        patterns = asked.get("gitIgnore", kept).split()
        for file in asked["files"]:
            path, there = file["path"], tree.get(file["path"])
            lfs = path.endswith(LFS_SUFFIXES) or file["size"] > LFS_FROM_BYTES
            ignored = any(fnmatch.fnmatch(path.rpartition("/")[2], pattern) for pattern in patterns)
            row = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": ignored}
            if there is not None:
                row["oid"] = there.sha256 if there.lfs else there.oid
            rows.append(row)
        return {"files": rows}, {}

    def batch(self, kind: str, name: str) -> tuple[Any, dict[str, str]]:
        repo, rows = self.found(kind, name, write=True), []
        for item in self.json()["objects"]:
            row = dict(item)
            if item["oid"] not in repo.lfs:
                base, key = self.hub.url, f"{kind or 'models'}/{name}/{item['oid']}"
                row["actions"] = {
                    "upload": {"href": f"{base}/lfs/{key}", "header": {}},
                    "verify": {"href": f"{base}/verify/{key}", "header": {}},
                }
            rows.append(row)
        return {"transfer": "basic", "objects": rows}, {}

    def put(self, kind: str, name: str, oid: str) -> tuple[Any, dict[str, str]]:
        repo = self.hub.repos[kind.rstrip("s"), name]  # the address is the right to write, as in a signed one
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, "BadDigest")
        repo.lfs[oid] = self.body
        self.hub.uploaded += len(self.body)
        return b"", {}

    def verify(self, kind: str, name: str, oid: str) -> tuple[Any, dict[str, str]]:
        if len(self.found(kind, name).lfs.get(oid, b"")) != self.json()["size"]:
            raise Refusal(404, "no such object")
        return {}, {}

    def commit(self, kind: str, name: str, branch: str) -> tuple[Any, dict[str, str]]:
        repo = self.found(kind, name, write=True)
        if branch not in repo.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        header, *operations = [json.loads(line) for line in self.body.splitlines()]
        parent = header["value"].get("parentCommit")
        if parent is not None and parent != repo.branches[branch]:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.tree(branch))
        for operation in operations:
            _apply(repo, tree, operation["key"], operation["value"])
        at = repo.commit(branch, tree)
        return {"success": True, "commitOid": at, "commitUrl": f"{self.hub.url}/{name}/commit/{at}"}, {}

    def tag(self, kind: str, name: str, revision: str) -> tuple[Any, dict[str, str]]:
        repo, tag = self.found(kind, name, write=True), self.json()["tag"]
        if tag in repo.tags:
            raise Refusal(409, "Tag reference exists already")
        repo.tags[tag] = repo.at(revision)
        return {}, {}

    def branch(self, kind: str, name: str, branch: str) -> tuple[Any, dict[str, str]]:
        repo = self.found(kind, name, write=True)
        if self.method == "DELETE":
            if repo.branches.pop(branch, None) is None:
                raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        elif branch in repo.branches:
            raise Refusal(409, "Reference already exists")
        else:
            repo.branches[branch] = repo.at(self.json().get("startingPoint", "main"))
        return {}, {}

    def resolve(self, kind: str, name: str, revision: str, path: str) -> tuple[Any, dict[str, str]]:
        repo = self.found(kind, name)
        at = repo.at(revision)
        if path not in repo.commits[at]:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        blob = repo.commits[at][path]
        return blob.content, {"ETag": f'"{blob.sha256 if blob.lfs else blob.oid}"', "X-Repo-Commit": at}

    def list_datasets(self) -> tuple[Any, dict[str, str]]:
        return self.hub.datasets, {}


def _apply(repo: Repo, tree: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        tree[path] = Blob(base64.b64decode(value["content"]), False)
    elif key == "lfsFile":
        if value["oid"] not in repo.lfs:
            raise Refusal(400, f"lfs object {value['oid']} was never uploaded")
        tree[path] = Blob(repo.lfs[value["oid"]], True)
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
    else:
        raise Refusal(400, f"unknown operation {key}")


_API = r"/api/(models|datasets)/([^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., tuple[Any, dict[str, str]]]]] = [
    (r"/api/whoami-v2", "GET", _Answer.whoami),
    (r"/api/repos/create", "POST", _Answer.create),
    (r"/api/validate-yaml", "POST", _Answer.check_yaml),
    (r"/api/datasets", "GET", _Answer.list_datasets),
    (_API + r"(?:/revision/([^/]+))?", "GET", _Answer.info),
    (_API + r"/refs", "GET", _Answer.refs),
    (_API + r"/tree/([^/]+)(?:/(.+))?", "GET", _Answer.listed),
    (_API + r"/paths-info/([^/]+)", "POST", _Answer.paths_info),
    (_API + r"/preupload/([^/]+)", "POST", _Answer.preupload),
    (_API + r"/commit/([^/]+)", "POST", _Answer.commit),
    (_API + r"/tag/([^/]+)", "POST", _Answer.tag),
    (_API + r"/branch/([^/]+)", "POST DELETE", _Answer.branch),
    (r"/(?:(datasets)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "POST", _Answer.batch),
    (r"/lfs/(models|datasets)/([^/]+/[^/]+)/(\w+)", "PUT", _Answer.put),
    (r"/verify/(models|datasets)/([^/]+/[^/]+)/(\w+)", "POST", _Answer.verify),
    (r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "GET HEAD", _Answer.resolve),
]


def running() -> Iterator[HubServer]:
    """For a fixture."""
    with HubServer() as hub:
        yield hub
