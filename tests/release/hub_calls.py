"""The calls that the small Hub answers: each one's effect on its repositories, and its answer."""

import base64
import fnmatch
import hashlib
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.release.hub_repos import ATTRIBUTES, LFS_FROM_BYTES, LFS_SUFFIXES, Blob, Refusal, Repo

if TYPE_CHECKING:
    from tests.release.hub_server import HubServer


class Answer:
    """One call's effect and answer: a body, and headers."""

    def __init__(self, hub: "HubServer", method: str, path: str, headers: Any, body: bytes) -> None:
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
    (r"/api/whoami-v2", "GET", Answer.whoami),
    (r"/api/repos/create", "POST", Answer.create),
    (r"/api/validate-yaml", "POST", Answer.check_yaml),
    (r"/api/datasets", "GET", Answer.list_datasets),
    (_API + r"(?:/revision/([^/]+))?", "GET", Answer.info),
    (_API + r"/refs", "GET", Answer.refs),
    (_API + r"/tree/([^/]+)(?:/(.+))?", "GET", Answer.listed),
    (_API + r"/paths-info/([^/]+)", "POST", Answer.paths_info),
    (_API + r"/preupload/([^/]+)", "POST", Answer.preupload),
    (_API + r"/commit/([^/]+)", "POST", Answer.commit),
    (_API + r"/tag/([^/]+)", "POST", Answer.tag),
    (_API + r"/branch/([^/]+)", "POST DELETE", Answer.branch),
    (r"/(?:(datasets)/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", "POST", Answer.batch),
    (r"/lfs/(models|datasets)/([^/]+/[^/]+)/(\w+)", "PUT", Answer.put),
    (r"/verify/(models|datasets)/([^/]+/[^/]+)/(\w+)", "POST", Answer.verify),
    (r"/(?:(datasets)/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "GET HEAD", Answer.resolve),
]
