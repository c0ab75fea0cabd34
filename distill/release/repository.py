"""One repository on the Hub: looked at, filled on a branch, moved in one commit, tagged.

A parcel goes up on a branch of its own first, where a killed push leaves what it had and the next goes on. What
arrived is compared by hash; then one commit on main takes the changed weights over from the branch (a copy on the Hub
refers to what is there, so it is quick), brings the small files, and deletes what is stale. Readers of main see the old
release before that commit and the new one after it.
"""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    get_session,
    hf_hub_url,
)
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, re-exported implicitly
    build_hf_headers,
    hf_raise_for_status,
)

from distill.errors import InputError
from distill.release.calls import Hub, HubError
from distill.release.layout import MARKER, File, Parcel, Place

_TAG = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
_LARGEST_MARKER_BYTES = 5_000_000

Tree = Mapping[str, RepoFile]


@dataclass(frozen=True)
class Marker:
    """What `distill.json` of a release on the Hub says: its tag, its `content`, and which files are ours."""

    release: str
    content: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """A repository as it is: main's commit and files, tags and branches with their commits, and the marker."""

    head: str
    private: bool
    tree: Tree
    tags: Mapping[str, str]
    branches: Mapping[str, str]
    marker: Marker | None


def look(hub: Hub, place: Place) -> Seen | None:
    """The repository as it is now, None where there is none; raises HubError, or InputError for a renamed one."""
    info = hub.read(str(place), lambda: _info(hub, place))
    if info is None:
        return None
    if info.id != place.repo:
        raise InputError(f"{place} is called {info.id} on the Hub; write release.repo accordingly")
    tags, branches = refs(hub, place)
    if "main" not in branches:
        raise InputError(f"{place} has no branch main; make one, or write another release.repo")
    head = branches["main"]
    tree = files_at(hub, place, head)
    return Seen(head, bool(info.private), tree, tags, branches, _marker(hub, place, head, tree))


def _info(hub: Hub, place: Place) -> Any:
    try:
        return hub.api.repo_info(place.repo, repo_type=place.kind)
    except RepositoryNotFoundError as error:
        if error.response.status_code == 404:
            return None
        raise


def refs(hub: Hub, place: Place) -> tuple[dict[str, str], dict[str, str]]:
    """Tags and branches with the commits that they name."""
    found = hub.read(str(place), lambda: hub.api.list_repo_refs(place.repo, repo_type=place.kind))
    tags, branches = ({ref.name: ref.target_commit for ref in some} for some in (found.tags, found.branches))
    return tags, branches


def files_at(hub: Hub, place: Place, revision: str) -> Tree:
    """Every file at a commit, branch or tag, by its path."""

    def listed() -> Tree:
        found = hub.api.list_repo_tree(place.repo, recursive=True, revision=revision, repo_type=place.kind)
        return {entry.path: entry for entry in found if isinstance(entry, RepoFile)}

    return hub.read(str(place), listed)


def _marker(hub: Hub, place: Place, revision: str, tree: Tree) -> Marker | None:
    """None where the file is not there, or is none of ours: then nothing in the repository counts as ours."""
    if MARKER not in tree or tree[MARKER].size > _LARGEST_MARKER_BYTES:
        return None

    def text() -> str:
        url = hf_hub_url(place.repo, MARKER, repo_type=place.kind, revision=revision, endpoint=hub.api.endpoint)
        response = get_session().get(url, headers=build_hf_headers(token=hub.api.token))
        hf_raise_for_status(response)
        return response.text

    try:
        said = json.loads(hub.read(str(place), text))
    except (ValueError, RecursionError):
        return None
    match said:
        case {"made_by": "distill", "release": str(tag), "content": str(content), "files": [*files]}:
            ours = tuple(path for path in files if isinstance(path, str))
            return Marker(tag, content, ours) if _TAG.fullmatch(tag) else None
    return None


def lacking(tree: Tree, files: Mapping[str, File]) -> list[str]:
    """The paths that are not there as they should be, by the Hub's own hashes."""
    return [path for path, file in files.items() if path not in tree or not _same(tree[path], file)]


def _same(there: RepoFile, file: File) -> bool:
    if there.lfs is not None:
        return there.lfs.sha256 == file.sha256
    return there.size == file.size and there.blob_id == file.blob()


def make(hub: Hub, place: Place, private: bool) -> None:
    """Makes the repository; raises HubError, also where it came out public although it was not to be."""

    def there() -> Any:
        return hub.read(str(place), lambda: _info(hub, place))

    def create() -> None:
        hub.api.create_repo(place.repo, repo_type=place.kind, private=private)

    info = hub.settle(str(place), there, create)
    if private and not info.private:
        raise HubError(f"the Hub made {place} public, although the recipe says private: nothing was uploaded")


def stage(hub: Hub, parcel: Parcel, branch: str, message: str) -> str:
    """Uploads what the branch lacks, checks that all is there, and gives the branch's commit; raises HubError."""
    place = parcel.place
    tree: dict[str, RepoFile] = {}
    branches: dict[str, str] = {}

    def done() -> str | None:
        branches.clear()
        branches.update(refs(hub, place)[1])
        if branch not in branches:
            return None
        tree.clear()
        tree.update(files_at(hub, place, branches[branch]))
        return None if lacking(tree, parcel.files) else branches[branch]

    def upload() -> None:
        if branch not in branches:
            hub.api.create_branch(place.repo, branch=branch, revision=branches["main"], repo_type=place.kind)
            tree.update(files_at(hub, place, branch))
        adds = [CommitOperationAdd(path, parcel.files[path].source) for path in lacking(tree, parcel.files)]
        if adds:
            _commit(hub, place, adds, branch, message, None)

    return hub.settle(str(place), done, upload)


def move(hub: Hub, parcel: Parcel, seen: Seen, staged: str, stale: Sequence[str], message: str) -> str:
    """The one commit on main, from the branch's commit `staged`; gives main's new commit.

    Raises HubError where main is no longer as it was `seen`: somebody else pushed.
    """
    place = parcel.place

    def done() -> str | None:
        head = refs(hub, place)[1].get("main", "")
        if not head:
            raise HubError(f"somebody else deleted the branch main of {place} meanwhile; look at what is there", 412)
        if head == seen.head:
            return None
        tree = files_at(hub, place, head)
        if lacking(tree, parcel.files) or set(stale) & set(tree):
            raise HubError(
                f"somebody else changed {place} meanwhile; look at what is there, then run this again", status=412
            )
        return head

    def commit() -> None:
        there = files_at(hub, place, staged)
        operations: list[Any] = [CommitOperationDelete(path, is_folder=False) for path in stale]
        for path in lacking(seen.tree, parcel.files):
            # The library copies a file that git itself holds by way of this machine, and looks at nothing: what came
            # would be on main before anyone compared it. Those go up from here.
            if there[path].lfs is None:
                operations.append(CommitOperationAdd(path, parcel.files[path].source))
            else:
                operations.append(CommitOperationCopy(path, path, src_revision=staged))
        _commit(hub, place, operations, "main", message, seen.head)

    return hub.settle(str(place), done, commit)


def _commit(hub: Hub, place: Place, operations: list[Any], branch: str, message: str, parent: str | None) -> None:
    with warnings.catch_warnings():
        # The library wonders at parquet in a model's repository, and at what a card's YAML could have besides.
        warnings.simplefilter("ignore", UserWarning)
        # A .gitignore of somebody else's would leave files out in silence.
        adds = [operation for operation in operations if isinstance(operation, CommitOperationAdd)]
        hub.api.preupload_lfs_files(
            place.repo, adds, repo_type=place.kind, revision=branch, free_memory=False, gitignore_content=""
        )
        hub.api.create_commit(
            place.repo,
            operations,
            commit_message=message,
            repo_type=place.kind,
            revision=branch,
            parent_commit=parent,
        )


def label(hub: Hub, parcel: Parcel, tag: str, commit: str) -> None:
    """Tags a commit, and checks that the tag names the parcel's files; raises HubError."""
    place = parcel.place

    def done() -> bool | None:
        if tag not in refs(hub, place)[0]:
            return None
        if lacking(files_at(hub, place, tag), parcel.files):
            raise HubError(f"{place} has got a tag {tag} meanwhile that is something else; write another release.tag")
        return True

    def create() -> None:
        hub.api.create_tag(place.repo, tag=tag, revision=commit, repo_type=place.kind)

    hub.settle(str(place), done, create)


def clean(hub: Hub, place: Place, branch: str) -> None:
    """Deletes the branch that was filled; raises HubError."""

    def done() -> bool | None:
        return None if branch in refs(hub, place)[1] else True

    def delete() -> None:
        hub.api.delete_branch(place.repo, branch=branch, repo_type=place.kind)

    hub.settle(str(place), done, delete)
