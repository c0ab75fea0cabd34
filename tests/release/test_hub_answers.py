"""Answers of the Hub that are none, late, or not what was sent: nothing of them gets on any main."""

import contextlib
import threading
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.release import calls
from tests.release import made
from tests.release.hub_server import Fault, HubServer
from tests.release.test_hub_failures import Scene

NONSENSE = [b"", b"{", b"null", b"[]", b"{}", b'"x"', b"[{}]", b"<html>Bad\ngateway</html>", b"\xff\xfe", b"[1]"]


@pytest.mark.slow
@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
def test_an_answer_that_is_none_leaves_no_mixture_and_the_next_push_ends_it(
    hub: HubServer, tmp_path: Path, second: bool
) -> None:
    scene = Scene.of(hub, tmp_path, second)
    for index, call in enumerate(scene.calls):
        after, lasting = bool(index % 2), bool(index // 2 % 2)
        hub.fault = Fault(index, (200, 200, 502)[index % 3], after, lasting, NONSENSE[index % len(NONSENSE)])
        at = f"call {index}, {call}: {hub.fault}"
        try:
            made.pushed(scene.told, scene.folder, hub.url)
        except DistillError as error:
            assert "\n" not in str(error), at
        hub.fault = None
        scene.check_unmixed(at)
        made.pushed(scene.told, scene.folder, hub.url)
        scene.check_done(at)
        scene.reset()


def test_what_the_hub_gives_back_of_a_small_file_never_gets_on_main(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, True)
    for index, call in enumerate(scene.calls):
        if "/resolve/" in call or "paths-info" in call:
            hub.fault = Fault(index, 200, body=b"[1]")
            with contextlib.suppress(DistillError):
                made.pushed(scene.told, scene.folder, hub.url)
            hub.fault = None
            scene.check_unmixed(call)
            scene.reset()


def test_an_answer_that_is_null_is_trouble_like_any_other(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, False)
    index = next(at for at, call in enumerate(scene.calls) if "validate-yaml" in call)
    hub.fault = Fault(index, 200, body=b"null", lasting=True)
    with pytest.raises(DistillError, match="makes no sense"):
        made.pushed(scene.told, scene.folder, hub.url)


def test_a_hub_that_says_nothing_is_not_waited_for_for_ever(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, said = Scene.of(hub, tmp_path, False), []
    monkeypatch.setattr(calls, "LONGEST_SILENCE_S", 0.3)
    index = next(at for at, call in enumerate(scene.calls) if "commit/main" in call)
    hub.fault = Fault(index, 503, slow_s=2.0)
    made.pushed(scene.told, scene.folder, hub.url, said.append)
    scene.check_done("a slow commit")
    assert any("cannot be reached" in line for line in said)


@pytest.mark.parametrize(("header", "waited_s"), [(("Retry-After", "7"), 8), (("ratelimit", '"api";r=0;t=55'), 56)])
def test_a_hub_that_asks_for_time_is_given_it(
    hub: HubServer, tmp_path: Path, header: tuple[str, str], waited_s: int
) -> None:
    scene, said = Scene.of(hub, tmp_path, False), []
    index = next(at for at, call in enumerate(scene.calls) if "commit/main" in call)
    hub.fault = Fault(index, 429, headers=(header,))
    made.pushed(scene.told, scene.folder, hub.url, said.append)
    scene.check_done("a commit that was asked to wait")
    assert any(f"trying again in {waited_s} s" in line for line in said)


def test_a_gitignore_of_somebody_elses_leaves_nothing_out(hub: HubServer, tmp_path: Path) -> None:
    hub.add(made.REPO, {".gitignore": b"*.json\nREADME.md\n"}, private=True)
    told = made.story()
    made.pushed(told, made.released(tmp_path, told), hub.url, adopt=True)
    assert {"config.json", "README.md", "hashes.json", "distill.json"} <= set(hub.repo(made.REPO).tree())


def test_a_main_that_was_deleted_meanwhile_is_one_sentence(hub: HubServer, tmp_path: Path) -> None:
    scene = Scene.of(hub, tmp_path, True)

    def somebody(index: int) -> None:
        if hub.calls[index].startswith(f"POST /api/models/{made.REPO}/commit/distill"):
            del hub.repo(made.REPO).branches["main"]
            hub.on_call = lambda index: None

    hub.on_call = somebody
    with pytest.raises(DistillError, match="deleted the branch main of org/student"):
        made.pushed(scene.told, scene.folder, hub.url)


def test_of_two_pushes_at_once_one_gets_there_and_nothing_is_mixed(hub: HubServer, tmp_path: Path) -> None:
    told = made.story()
    made.pushed(told, made.released(tmp_path / "1", told), hub.url)
    both = []
    for mark in ("2", "3"):
        release = made.story(fingerprint=f"f{mark}")
        both.append((release, made.released(tmp_path / mark, release, mark)))
    start, ended = threading.Barrier(2), []

    def push(at: int) -> None:
        start.wait()
        try:
            ended.append(made.pushed(both[at][0], both[at][1], hub.url).tag)
        except DistillError as error:
            ended.append(str(error))

    threads = [threading.Thread(target=push, args=(at,)) for at in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "v2" in ended, ended
    tree, evals = hub.repo(made.REPO).tree(), hub.repo(f"{made.REPO}-evals", "dataset").tree()
    mark = tree["model.safetensors"].content[-1:]
    assert mark == evals["bf16/distill_gsm8k/results_2026-11-20T10-00-00.json"].content[-3:-2]
    assert f'"f{mark.decode()}"'.encode() in tree["distill.json"].content
