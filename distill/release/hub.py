"""A release folder and its story in, repositories on the Hub out: one commit each on main, or none.

Everything is looked at before anything is sent. Then all repositories are filled on branches; then each main moves and
is tagged, the model's last, so that what its card refers to is there; then the branches go. The same command again goes
on where this one ended, and does nothing where all is done.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from huggingface_hub import HfApi

from distill.errors import DistillError, InputError
from distill.recipe import Recipe
from distill.records import printable
from distill.release.calls import LOG_IN, Hub, HubError
from distill.release.layout import (
    File,
    Parcel,
    Place,
    checked,
    content,
    holds_questions,
    kept_private,
    marked,
    parcels,
    places,
    would_mix,
)
from distill.release.licences import settle
from distill.release.ready import refuse_closed
from distill.release.repository import Seen, clean, files_at, label, lacking, look, make, move, stage
from distill.release.results import Board, boards
from distill.release.story import Story
from distill.run import write_json

Say = Callable[[str], None]

_ANY_TAG = "release"
"""The tag under which a release's `content` is worked out, so that it is the same under every tag."""


@dataclass(frozen=True)
class Pushed:
    """Where a release went on the Hub: each repository's commit, the tag, and the address of the model."""

    repos: Mapping[str, str]
    tag: str
    url: str


@dataclass
class _Memory:
    """What a push must remember if it is killed: the tag it chose for which content, with the boards that the Hub had
    then (they come and go, and the same release is the same files), and the repositories it made."""

    path: Path
    content: str = ""
    tag: str = ""
    made: list[str] = field(default_factory=list)
    boards: list[Board] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "_Memory":
        if not path.exists():
            return cls(path)
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            known = [Board(**board) for board in said["boards"]]
            return cls(path, str(said["content"]), str(said["tag"]), [str(name) for name in said["made"]], known)
        except (ValueError, KeyError, TypeError) as error:
            raise DistillError(f"{path} is not what a push wrote; delete it") from error

    def write(self) -> None:
        boards = [asdict(board) for board in self.boards]
        write_json(self.path, {"content": self.content, "tag": self.tag, "made": self.made, "boards": boards})


@dataclass(frozen=True)
class _Plan:
    """What goes where: the tag, every repository's files, how it was before, and what of it is stale."""

    tag: str
    parcels: Sequence[Parcel]
    before: Mapping[Place, Seen | None]

    @property
    def branch(self) -> str:
        """Where files go up."""
        return f"distill-{self.tag}"


def push(story: Story, folder: Path, memory: Path, *, adopt: bool, say: Say, api: HfApi | None = None) -> Pushed:
    """Takes a release folder that `publish` wrote to the Hub, as the recipe's `release` says.

    `memory` is a file beside it, for what a killed push must know again. Raises GateClosed where a variant's report
    did not pass; InputError, with nothing sent, for a token, a licence, a name, a tag or a size that cannot be, and for
    a repository that distill did not make, unless `adopt`; HubError, saying what is where, when the Hub fails.
    """
    section = story.recipe.release
    if section.repo is None:
        raise InputError("there is no repository to push to; write release.repo: ORG/NAME")
    refuse_closed(story.reports, section.variants)
    settle(story)
    held = checked(folder)
    hub, notes = Hub(api or HfApi(), say), _Memory.read(memory)
    try:
        _login(hub)
        plan = _plan(hub, story, held, notes)
        stale = {place: _stale(story.recipe, place, plan, notes, adopt, say) for place in plan.before}
    except HubError as error:
        refused = error.status in (401, 402, 403, 404)
        raise (InputError if refused else DistillError)(f"nothing was pushed: {error}") from error
    notes.write()
    moved: dict[str, str] = {}
    try:
        _deliver(hub, story, plan, stale, notes, moved)
    except HubError as error:
        raise HubError(f"{error}; {_standing(plan, moved)}", error.status) from error
    return Pushed(moved, plan.tag, f"{hub.api.endpoint}/{section.repo}/tree/{plan.tag}")


def _login(hub: Hub) -> None:
    said = hub.read("your account", lambda: hub.api.whoami())
    match said:
        case {"auth": {"accessToken": {"role": "read"}}}:
            raise InputError(f"the token may only read from the Hub; {LOG_IN}")
        case {"auth": {"accessToken": {"fineGrained": {"scoped": [*scopes]}}}} if "repo.write" not in str(scopes):
            raise InputError(f"the token may write to no repository on the Hub; {LOG_IN}")


def _plan(hub: Hub, story: Story, held: Mapping[str, File], notes: _Memory) -> _Plan:
    """Looks at every repository and chooses the tag; raises InputError for a tag that is another release."""
    section = story.recipe.release
    what = content(parcels(story, held, _ANY_TAG, []))  # boards change no release
    if notes.content != what:
        notes.boards = boards(hub.api, hub.say)
    before = {place: look(hub, place) for place in places(section)}
    known = [seen for seen in before.values() if seen is not None]
    same = [seen.marker.release for seen in known if seen.marker is not None and seen.marker.content == what]
    tried = [section.tag] if section.tag else [*([notes.tag] if notes.content == what else []), *same, _next(known)]
    taken = ""
    for tag in tried:
        made = parcels(story, held, tag, notes.boards)
        plan = _Plan(tag, [marked(parcel, story, tag, what) for parcel in made], before)
        taken = _taken(hub, plan)
        if not taken:
            notes.content, notes.tag = what, tag
            return plan
    raise InputError(
        f"{taken} has a tag {tried[-1]} already, which is another release; write release.tag: {_next(known)}, "
        "or leave it out"
    )


def _next(known: Sequence[Seen]) -> str:
    """The tag after the highest of v1, v2, … that is anywhere."""
    names = [name for seen in known for name in seen.tags]
    names += [seen.marker.release for seen in known if seen.marker is not None]
    return f"v{max([int(name[1:]) for name in names if re.fullmatch(r'v[0-9]{1,9}', name)], default=0) + 1}"


def _taken(hub: Hub, plan: _Plan) -> str:
    """The repository in which the tag is another release already, or nothing."""
    for parcel in plan.parcels:
        seen = plan.before[parcel.place]
        if seen is not None and plan.tag in seen.tags and not _tagged(hub, parcel, plan.tag):
            return str(parcel.place)
    return ""


def _tagged(hub: Hub, parcel: Parcel, tag: str) -> bool:
    return not lacking(files_at(hub, parcel.place, tag), parcel.files)


def _stale(recipe: Recipe, place: Place, plan: _Plan, notes: _Memory, adopt: bool, say: Say) -> list[str]:
    """What main's one commit deletes there; raises InputError for a repository that is not ours to change."""
    seen = plan.before[place]
    if seen is None:
        return []
    if not seen.private and holds_questions(recipe, place):
        raise InputError(
            f"{place} is public, and would hold questions that must not be put online in plain text; make it private "
            "in its settings on the Hub, or write another release.repo"
        )
    parcel = next(parcel for parcel in plan.parcels if parcel.place == place)
    others = [path for path in seen.tree if path not in parcel.files]
    if seen.marker is not None:
        return sorted(set(others) & set(seen.marker.files))
    if _name(place) in notes.made and set(seen.tree) <= {".gitattributes"}:
        return []
    if not adopt:
        raise InputError(
            f"{place} exists, and distill did not make it, so it is left alone; write --adopt to take it over, or "
            "another release.repo"
        )
    stale = would_mix(parcel, others)
    replaced = sorted(path for path in lacking(seen.tree, parcel.files) if path in seen.tree)
    say(f"  {place} is taken over: {_counted('replaced', replaced)}, {_counted('deleted', stale)}, the rest stays")
    return stale


def _counted(verb: str, paths: Sequence[str]) -> str:
    listed = ", ".join(printable(path) for path in paths[:20]) + (", …" if len(paths) > 20 else "")
    return f"{len(paths)} files are {verb}" + (f" ({listed})" if paths else "")


def _deliver(
    hub: Hub,
    story: Story,
    plan: _Plan,
    stale: Mapping[Place, Sequence[str]],
    notes: _Memory,
    moved: dict[str, str],
) -> None:
    """Fills every repository's branch, then moves and tags the mains, in order; `moved` gets each one's commit."""
    message = f"{story.name} {plan.tag}, by distill"
    staged: dict[Place, tuple[Seen, str]] = {}
    for parcel in plan.parcels:
        private = kept_private(story.recipe, parcel.place)
        if private and not story.recipe.release.private:
            hub.say(f"  {parcel.place} stays private: it holds questions that must not be put online in plain text")
        seen = plan.before[parcel.place] or _made(hub, parcel.place, private, notes)
        if private and not seen.private:
            hub.say(f"  {parcel.place} is public, as it was before: what is pushed there is public")
        if seen.private and not private:
            hub.say(f"  {parcel.place} is private, as its owner or its organisation keeps it; its settings change that")
        if _lies(parcel, seen, stale[parcel.place]):
            staged[parcel.place] = seen, ""
            continue
        size_mb = sum(file.size for file in parcel.files.values()) / 1e6
        hub.say(f"  {parcel.place}: {len(parcel.files)} files, {size_mb:,.1f} MB")
        staged[parcel.place] = seen, stage(hub, parcel, plan.branch, message)
    for parcel in plan.parcels:
        seen, commit = staged[parcel.place]
        moved[parcel.place.repo] = (
            move(hub, parcel, seen, commit, stale[parcel.place], message) if commit else seen.head
        )
        label(hub, parcel, plan.tag, moved[parcel.place.repo])
    for parcel in plan.parcels:
        clean(hub, parcel.place, plan.branch)


def _made(hub: Hub, place: Place, private: bool, notes: _Memory) -> Seen:
    """The repository, newly made. It is noted before: a killed push must know it as its own."""
    notes.made.append(_name(place))
    notes.write()
    try:
        make(hub, place, private)
    except HubError:
        if look(hub, place) is None:  # refused: whoever makes it, it will not have been this push
            notes.made.remove(_name(place))
            notes.write()
        raise
    seen = look(hub, place)
    if seen is None:
        raise HubError(f"{place} was made, and is gone again")
    if set(seen.tree) - {".gitattributes"}:
        raise HubError(f"somebody else made {place} meanwhile; look at what is there, then run this again", 409)
    return seen


def _lies(parcel: Parcel, seen: Seen, stale: Sequence[str]) -> bool:
    """Whether main is this release already."""
    return not lacking(seen.tree, parcel.files) and not stale


def _name(place: Place) -> str:
    return f"{place.kind} {place.repo}"


def _standing(plan: _Plan, moved: Mapping[str, str]) -> str:
    """What is where, and how to go on."""
    done = [str(parcel.place) for parcel in plan.parcels if parcel.place.repo in moved]
    rest = [str(parcel.place) for parcel in plan.parcels if parcel.place.repo not in moved]
    if not rest:
        return f"all of {plan.tag} is there, but for a tag or a branch; the same command goes on"
    arrived = f"{plan.tag} is in {', '.join(done)}; " if done else ""
    told = f"{', '.join(rest)} {'is' if len(rest) == 1 else 'are'} as before, as far as the Hub told"
    return f"{arrived}{told}; the same command goes on"
