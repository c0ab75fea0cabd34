"""A push that fails at any call leaves every main as the old release or as the new one, and the next push ends it."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from distill.release.story import Story
from tests.release import made
from tests.release.hub_server import Fault, HubServer

ROOT = Path(__file__).resolve().parents[2]
Mains = Mapping[str, Mapping[str, str]]


@dataclass
class Scene:
    """A Hub before a push, the push, and what the Hub's mains are after it when nothing fails."""

    hub: HubServer
    told: Story
    folder: Path
    state: Any
    old: Mains
    new: Mains
    calls: list[str]
    tags: set[str]

    @classmethod
    def of(cls, hub: HubServer, tmp_path: Path, second: bool, **release: Any) -> "Scene":
        told, folder = made.story(**release), None
        if second:
            folder = made.released(tmp_path / "1", told, extra="added_tokens.json")
            made.pushed(told, folder, hub.url)
            told = made.story(fingerprint="f2", **release)
        folder = made.released(tmp_path / "2", told, "2")
        state, old = hub.state(), hub.mains()
        hub.calls = []
        made.pushed(told, folder, hub.url)
        scene = cls(hub, told, folder, state, old, hub.mains(), list(hub.calls), {"v1", "v2"} if second else {"v1"})
        scene.reset()
        return scene

    def reset(self) -> None:
        self.hub.restore(self.state)
        (self.folder.parent / "pushing.json").unlink(missing_ok=True)

    def left(self) -> str:
        """All that a push finds: two of them that find the same do the same."""
        memory = self.folder.parent / "pushing.json"
        repos = {
            name: (repo.branches, repo.tags, repo.private, sorted(repo.lfs)) for name, repo in self.hub.repos.items()
        }
        return f"{sorted(repos.items())} {memory.read_text() if memory.exists() else ''}"

    def check_unmixed(self, at: str) -> None:
        """Every main is the old one, or the new one; a repository that was just made is empty."""
        for name, main in self.hub.mains().items():
            assert main in (self.old.get(name), self.new[name]) or set(main) == {".gitattributes"} - set(
                self.old.get(name, {})
            ), f"{name} is a mixture after {at}"
        for (_, name), repo in self.hub.repos.items():
            if name in self.new and (tag := max(self.tags)) in repo.tags:
                assert repo.listing(tag) == self.new[name], f"{name}'s tag is something else after {at}"

    def check_done(self, at: str) -> None:
        assert self.hub.mains() == self.new, f"after {at}, the next push did not end it"
        for repo in self.hub.repos.values():
            assert set(repo.tags) == self.tags and set(repo.branches) == {"main"}, f"after {at}"


SCENES = [
    (False, {"variants": ["bf16", "nf4"], "traces": True}),
    (True, {}),
    (True, {"variants": ["bf16", "nf4"], "repos": "each"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("second", "release"), SCENES, ids=["first-one", "second-one", "second-each"])
def test_a_push_that_fails_at_any_call_leaves_no_mixture_and_the_next_ends_it(
    hub: HubServer, tmp_path: Path, second: bool, release: dict[str, Any]
) -> None:
    scene = Scene.of(hub, tmp_path, second, **release)
    raised, ended = 0, set()
    for index, call in enumerate(scene.calls):
        for fault in _faults(index, call):
            at = f"call {index}, {call}: {fault}"
            hub.fault = fault
            try:
                made.pushed(scene.told, scene.folder, hub.url)
            except DistillError as error:
                raised += 1
                assert "\n" not in str(error), at
            hub.fault = None
            scene.check_unmixed(at)
            if (left := scene.left()) not in ended:
                ended.add(left)
                made.pushed(scene.told, scene.folder, hub.url)
                scene.check_done(at)
            scene.reset()
    print(f"{len(scene.calls)} calls, {raised} pushes failed, {len(ended)} different states were left")
    assert raised > len(scene.calls) / 2, "the faults were hardly felt"


def _faults(index: int, call: str) -> list[Fault]:
    """Reads fail before, by turns for once and for good; writes for once and for good, before and after."""
    if call.startswith("GET") or "paths-info" in call or "preupload" in call or "validate-yaml" in call:
        return [Fault(index, 403)] if index % 2 else [Fault(index, 0, lasting=True)]
    return [Fault(index, 403), Fault(index, 0, after=True), Fault(index, 0, after=True, lasting=True)]


def test_a_lost_answer_to_any_write_is_noticed_and_the_push_ends_at_once(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, False)
    writes = [i for i, call in enumerate(scene.calls) if "/commit/" in call or "/tag/" in call or "/branch/" in call]
    for index in [*writes, next(i for i, call in enumerate(scene.calls) if "repos/create" in call)]:
        hub.fault = Fault(index, 0, after=True)
        made.pushed(scene.told, scene.folder, hub.url)
        scene.check_done(scene.calls[index])
        assert all(len(repo.commits) == 3 for repo in hub.repos.values()), "no commit twice"
        scene.reset()


def test_what_a_killed_push_uploaded_is_not_uploaded_again(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, False)
    hub.uploaded = 0
    hub.fault = Fault(next(i for i, call in enumerate(scene.calls) if "commit/main" in call), lasting=True)
    with pytest.raises(DistillError):
        made.pushed(scene.told, scene.folder, hub.url)
    sent, hub.fault = hub.uploaded, None
    made.pushed(scene.told, scene.folder, hub.url)
    assert sent > 0 and hub.uploaded == sent


@pytest.mark.slow
def test_a_push_that_is_killed_leaves_no_mixture_and_the_next_ends_it(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, True, variants=["bf16", "nf4"], traces=True)
    draw = random.Random(3)
    uploads = [i for i, call in enumerate(scene.calls) if call.startswith("PUT")]
    moves = [i for i, call in enumerate(scene.calls) if "commit/main" in call]
    for index in [draw.choice(uploads), *draw.sample(moves, 2), draw.randrange(5, len(scene.calls))]:
        assert _killed(scene, index) == -signal.SIGKILL
        scene.check_unmixed(f"kill at {index}")
        made.pushed(scene.told, scene.folder, hub.url)
        scene.check_done(f"kill at {index}")
        scene.reset()


def _killed(scene: Scene, index: int) -> int:
    """Pushes in a process that is killed at a call, by half of them before it had its effect."""
    environment = os.environ | {"HF_HUB_DISABLE_XET": "1", "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{ROOT}"}
    command = [str(scene.folder), scene.hub.url, "f2", "bf16,nf4", "one"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.release.made", *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def kill(now: int) -> None:
        if now == index:
            process.kill()
            process.wait()

    scene.hub.on_call = kill
    code = process.wait(timeout=240)
    scene.hub.on_call = lambda now: None
    return code
