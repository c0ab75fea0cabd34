"""What is pushed, where it lies, and what is refused: over loopback, to a small Hub."""

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError, GateClosed, InputError
from distill.recipe import Recipe
from distill.release import check, layout
from distill.release.calls import HubError
from tests.release import made
from tests.release.hub_server import Fault, HubServer

EVALS, TRACES = f"{made.REPO}-evals", f"{made.REPO}-traces"


def first(hub: HubServer, tmp_path: Path, **release: Any) -> Path:
    """A first release, pushed; gives its folder."""
    told = made.story(**release)
    folder = made.released(tmp_path / "first", told)
    made.pushed(told, folder, hub.url)
    return folder


def test_one_repository_has_the_first_variant_at_its_root_and_the_others_in_folders(
    hub: HubServer, tmp_path: Path
) -> None:
    told = made.story(variants=["bf16", "nf4"], traces=True)
    pushed = made.pushed(told, made.released(tmp_path, told), hub.url)
    main = hub.repo(made.REPO)
    assert set(main.tree()) == {
        *(".gitattributes", "README.md", "hashes.json", "distill.json", "LICENSE", "NOTICE"),
        *("config.json", "model.safetensors", "nf4/config.json", "nf4/model.safetensors"),
        "lineage/5-gate/reports.json",
    }
    assert main.tree()["model.safetensors"].content == b"bf16 weights 1"
    assert main.tree()["nf4/model.safetensors"].content == b"nf4 weights 1"
    assert pushed.repos == {
        name: hub.repo(name, kind).branches["main"]
        for name, kind in ((EVALS, "dataset"), (TRACES, "dataset"), (made.REPO, "model"))
    }
    assert pushed.tag == "v1" and pushed.url == f"{hub.url}/{made.REPO}/tree/v1"
    for name, kind in ((EVALS, "dataset"), (TRACES, "dataset"), (made.REPO, "model")):
        repo = hub.repo(name, kind)
        assert repo.private and set(repo.branches) == {"main"} and set(repo.tags) == {"v1"}
        assert len(repo.commits) == 3, "the first one, the branch's, and one on main"
    assert "base/distill_gsm8k/results_2026-11-20T10-00-00.json" in hub.repo(EVALS, "dataset").tree()
    assert "data/train-00000-of-00001.parquet" in hub.repo(TRACES, "dataset").tree()


def test_hashes_and_marker_say_what_is_there(hub: HubServer, tmp_path: Path) -> None:
    first(hub, tmp_path, variants=["bf16", "nf4"])
    tree = hub.repo(made.REPO).tree()
    hashes, marker = (json.loads(tree[name].content) for name in ("hashes.json", "distill.json"))
    assert hashes == {
        path: hashlib.sha256(blob.content).hexdigest()
        for path, blob in tree.items()
        if path not in (".gitattributes", "hashes.json", "distill.json")
    }
    assert set(marker["files"]) == set(tree) - {".gitattributes"}
    assert (marker["made_by"], marker["release"], marker["run"], marker["fingerprint"]) == (
        *("distill", "v1", "student", "f1"),
    )


def test_each_variant_may_have_a_repository_of_its_own(hub: HubServer, tmp_path: Path) -> None:
    first(hub, tmp_path, variants=["bf16", "nf4"], repos="each", private=False)
    assert {name for _, name in hub.repos} == {EVALS, f"{made.REPO}-nf4", made.REPO}, "no traces unless asked"
    for name, weights in ((made.REPO, b"bf16 weights 1"), (f"{made.REPO}-nf4", b"nf4 weights 1")):
        repo = hub.repo(name)
        assert repo.tree()["model.safetensors"].content == weights and not repo.private
        assert {"README.md", "distill.json", "lineage/5-gate/reports.json"} <= set(repo.tree())
        assert not any(path.startswith("nf4/") for path in repo.tree())


def test_questions_that_must_not_be_online_stay_private(hub: HubServer, tmp_path: Path) -> None:
    told = made.story(private=False)
    tasks = [{"task": "distill_gpqa_diamond", "min": 0.5}, {"task": "distill_gsm8k", "min": 0.5}]
    told = replace(told, recipe=Recipe.model_validate(told.recipe.model_dump() | {"gate": {"tasks": tasks}}))
    made.pushed(told, made.released(tmp_path, told), hub.url)
    assert hub.repo(EVALS, "dataset").private and not hub.repo(made.REPO).private


def test_the_same_again_changes_nothing_and_uploads_nothing(hub: HubServer, tmp_path: Path) -> None:
    told = made.story(variants=["bf16", "nf4"], traces=True)
    folder = made.released(tmp_path, told)
    before = made.pushed(told, folder, hub.url)
    state, hub.calls, hub.uploaded = hub.state(), [], 0
    assert made.pushed(told, folder, hub.url) == before
    (folder.parent / "pushing.json").unlink()  # another machine knows it by the marker
    assert made.pushed(told, folder, hub.url) == before
    assert not [call for call in hub.calls if not call.startswith("GET")] and hub.uploaded == 0
    assert {key: repo.tags for key, repo in hub.repos.items()} == {key: repo.tags for key, repo in state.items()}


def test_a_second_release_is_one_commit_that_deletes_what_was_ours_and_keeps_what_was_not(
    hub: HubServer, tmp_path: Path
) -> None:
    told = made.story()
    made.pushed(told, made.released(tmp_path / "1", told, extra="added_tokens.json"), hub.url)
    repo = hub.repo(made.REPO)
    theirs = repo.tree()["README.md"]
    repo.commit("main", {**repo.tree(), "gguf/student.gguf": theirs})
    commits, old = len(repo.commits), repo.listing("v1")
    told = made.story(fingerprint="f2")
    assert made.pushed(told, made.released(tmp_path / "2", told, "2"), hub.url).tag == "v2"
    repo = hub.repo(made.REPO)
    assert len(repo.commits) == commits + 2 and set(repo.tags) == {"v1", "v2"}
    assert repo.listing("v1") == old and "added_tokens.json" in old
    assert "added_tokens.json" not in repo.tree() and "gguf/student.gguf" in repo.tree()
    assert repo.tree()["model.safetensors"].content == b"bf16 weights 2"


def test_what_does_not_change_is_not_uploaded_again(hub: HubServer, tmp_path: Path) -> None:
    first(hub, tmp_path)
    hub.uploaded = 0
    told = made.story(fingerprint="f2")
    made.pushed(told, made.released(tmp_path / "2", told), hub.url)
    assert hub.uploaded == 0 and set(hub.repo(made.REPO).tags) == {"v1", "v2"}


def test_a_repository_of_somebody_else_is_not_touched(hub: HubServer, tmp_path: Path) -> None:
    hub.add(made.REPO, {"model.safetensors": b"theirs"})
    told = made.story()
    folder, state = made.released(tmp_path, told), hub.mains()
    with pytest.raises(InputError, match=r"org/student exists, and distill did not make it.*--adopt"):
        made.pushed(told, folder, hub.url)
    assert hub.mains() == state and not [call for call in hub.calls if not call.startswith("GET")]


@pytest.mark.parametrize(
    "marker",
    [
        b"[" * 100_000,
        *(b"{", b"[]", b"\xff", b'{"made_by": "distill"}', b'{"made_by": "other", "files": []}'),
        b'{"made_by": "distill", "release": "../v1", "content": "c", "files": []}',
    ],
)
def test_a_marker_that_is_none_of_ours_makes_nothing_ours(hub: HubServer, tmp_path: Path, marker: bytes) -> None:
    hub.add(made.REPO, {"distill.json": marker})
    told = made.story()
    with pytest.raises(InputError, match="--adopt"):
        made.pushed(told, made.released(tmp_path, told), hub.url)


def test_adopting_says_what_goes_and_leaves_nothing_that_a_loader_would_mix_in(hub: HubServer, tmp_path: Path) -> None:
    theirs = {
        "model.safetensors": b"theirs",
        "model.safetensors.index.json": b"{}",
        "adapter_config.json": b"{}",
        "pytorch_model.bin": b"theirs",
        "nf4/adapter_model.safetensors": b"theirs",
        ".eval_results/gsm8k.yaml": b"[]",
        "additional_chat_templates/tools.jinja": b"x",
        "gguf/student.gguf": b"theirs",
        "onnx/model.json": b"{}",
        "figure.png": b"png",
        "README.md": b"theirs",
    }
    hub.add(made.REPO, theirs)
    told, said = made.story(variants=["bf16", "nf4"]), []
    made.pushed(told, made.released(tmp_path, told), hub.url, said.append, adopt=True)
    tree = hub.repo(made.REPO).tree()
    assert {path for path in theirs if path in tree and tree[path].content == theirs[path]} == {
        *("gguf/student.gguf", "onnx/model.json", "figure.png"),
    }
    (line,) = [line for line in said if "taken over" in line]
    assert "2 files are replaced (README.md, model.safetensors)" in line
    assert "6 files are deleted (" in line and "pytorch_model.bin" in line and "the rest stays" in line
    state = hub.mains()
    made.pushed(told, tmp_path / "6-release" / "student", hub.url)  # it is ours from now on
    assert hub.mains() == state


def test_adopting_a_data_set_leaves_no_row_of_somebody_elses(hub: HubServer, tmp_path: Path) -> None:
    theirs = {
        "data/train-00000-of-00009.parquet": b"x",
        "data/old.parquet": b"x",
        "notes/a.parquet": b"x",
        "a.csv": b"x",
    }
    hub.add(TRACES, theirs, "dataset")
    told = made.story(traces=True)
    made.pushed(told, made.released(tmp_path, told), hub.url, adopt=True)
    tree = hub.repo(TRACES, "dataset").tree()
    assert set(tree) - {".gitattributes", "README.md", "hashes.json", "distill.json"} == {
        *("data/train-00000-of-00001.parquet", "notes/a.parquet", "a.csv"),
    }


def test_a_repository_that_we_were_not_let_make_is_not_ours_when_somebody_made_it(
    hub: HubServer, tmp_path: Path
) -> None:
    told = made.story(repo="elsewhere/student")
    folder = made.released(tmp_path, told)
    with pytest.raises(HubError, match=r"does not let this token write to the data set elsewhere/student-evals"):
        made.pushed(told, folder, hub.url)
    hub.add("elsewhere/student-evals", {}, "dataset")
    with pytest.raises(InputError, match="--adopt"):
        made.pushed(told, folder, hub.url)


def test_a_folder_without_a_variant_and_a_recipe_without_a_repository(hub: HubServer, tmp_path: Path) -> None:
    told = made.story()
    folder = made.released(tmp_path, told)
    with pytest.raises(DistillError, match="the release folder has no nf4"):
        made.pushed(made.story(variants=["bf16", "nf4"]), folder, hub.url)
    with pytest.raises(InputError, match=r"write release.repo: ORG/NAME"):
        made.pushed(made.story(to="folder", repo=None), folder, hub.url)
    with pytest.raises(DistillError, match="is no release folder"):
        made.pushed(told, tmp_path / "variants", hub.url)
    assert hub.repos == {}


def test_what_is_too_large_for_the_hub_is_told_before_it_is_sent(tmp_path: Path) -> None:
    told = made.story()
    held = layout.checked(made.released(tmp_path, told))
    with (tmp_path / "large").open("wb") as file:
        file.truncate(51 * 10**9)  # a hole: it takes no room
    weights = {"bf16/model.safetensors": layout.File(tmp_path / "large", "0" * 64)}
    with pytest.raises(InputError, match=r"model.safetensors has 51 GB, and the Hub takes 50; save it in shards"):
        layout.parcels(told, held | weights, "v1", [])
    many = {f"evals/base/t/samples_{i}.jsonl": held["LICENSE"] for i in range(25_000)}
    with pytest.raises(InputError, match=r"the data set org/student-evals would be 25,0\d\d files"):
        layout.parcels(told, held | many, "v1", [])


def test_a_closed_gate_sends_nothing(hub: HubServer, tmp_path: Path) -> None:
    told = made.story(variants=["bf16", "nf4"])
    folder = made.released(tmp_path, told)
    for reports in ([], [made.report("bf16")], [made.report("bf16"), made.report("nf4", "undecided")]):
        with pytest.raises(GateClosed, match="nf4"):
            made.pushed(made.story(reports, variants=["bf16", "nf4"]), folder, hub.url)
    with pytest.raises(GateClosed):
        made.pushed(made.story([made.report("bf16", smoke=True)]), folder, hub.url)
    assert hub.calls == []


def test_a_waiver_opens_the_gate(hub: HubServer, tmp_path: Path) -> None:
    told = made.story([made.report("bf16", "fail", waiver="known, and said on the card (A. Person)")])
    assert made.pushed(told, made.released(tmp_path, told), hub.url).tag == "v1"


def test_a_tag_of_ones_own_and_one_that_is_taken(hub: HubServer, tmp_path: Path) -> None:
    first(hub, tmp_path, tag="v7")
    assert set(hub.repo(made.REPO).tags) == {"v7"}
    told = made.story(fingerprint="f2", tag="v7")
    folder, state = made.released(tmp_path / "2", told, "2"), hub.mains()
    with pytest.raises(InputError, match=r"has a tag v7 already, which is another release; write release.tag: v8"):
        made.pushed(told, folder, hub.url)
    assert hub.mains() == state
    assert made.pushed(made.story(fingerprint="f2"), folder, hub.url).tag == "v8"


def test_a_hand_that_moved_main_meanwhile_is_not_overwritten(hub: HubServer, tmp_path: Path) -> None:
    first(hub, tmp_path)
    told = made.story(fingerprint="f2")
    folder = made.released(tmp_path / "2", told, "2")

    def somebody(index: int) -> None:
        if hub.calls[index].startswith(f"POST /api/models/{made.REPO}/commit/main"):
            repo = hub.repo(made.REPO)
            repo.commit("main", {**repo.tree(), "notes.txt": repo.tree()["README.md"]})
            hub.on_call = lambda index: None

    hub.on_call = somebody
    with pytest.raises(HubError, match=r"somebody else changed org/student meanwhile.*v2 is in .*org/student-evals"):
        made.pushed(told, folder, hub.url)
    assert hub.repo(made.REPO).tree()["model.safetensors"].content == b"bf16 weights 1"
    assert made.pushed(told, folder, hub.url).tag == "v2"
    assert "notes.txt" in hub.repo(made.REPO).tree()
    assert hub.repo(made.REPO).tree()["model.safetensors"].content == b"bf16 weights 2"


@pytest.mark.parametrize(
    ("status", "says", "kind"),
    [
        (401, "hf auth login", InputError),
        (403, "HF_TOKEN to a token with write permission", InputError),
        (404, "may not see it", InputError),
        (429, "asks for fewer requests", DistillError),
        (500, "answers 500", DistillError),
        (0, "cannot be reached", DistillError),
    ],
)
def test_trouble_before_the_push_is_one_sentence(
    hub: HubServer, tmp_path: Path, status: int, says: str, kind: type[Exception]
) -> None:
    told = made.story()
    folder = made.released(tmp_path, told)
    hub.fault = Fault(0, status, lasting=True)
    with pytest.raises(kind, match=says) as caught:
        made.pushed(told, folder, hub.url)
    assert "\n" not in str(caught.value) and "nothing was pushed" in str(caught.value) and hub.repos == {}
    assert isinstance(caught.value, InputError) == (kind is InputError)


def test_trouble_that_passes_is_waited_for_and_said(hub: HubServer, tmp_path: Path) -> None:
    told, said = made.story(), []
    folder = made.released(tmp_path, told)
    hub.fault = Fault(3, 503)
    assert made.pushed(told, folder, hub.url, said.append).tag == "v1"
    assert any("answers 503" in line and "trying again in 1 s" in line for line in said)


@pytest.mark.parametrize(("status", "says"), [(402, "no room"), (413, "no room"), (403, "does not let this token")])
def test_trouble_within_the_push_says_what_is_where(hub: HubServer, tmp_path: Path, status: int, says: str) -> None:
    first(hub, tmp_path)
    told, old = made.story(fingerprint="f2"), hub.mains()
    folder = made.released(tmp_path / "2", told, "2")
    hub.on_call = lambda index: _fail_at(hub, index, f"/api/models/{made.REPO}/commit/", status)
    with pytest.raises(HubError, match=says) as caught:
        made.pushed(told, folder, hub.url)
    assert "as before" in str(caught.value) and "the same command goes on" in str(caught.value)
    assert hub.mains() == old


def _fail_at(hub: HubServer, index: int, path: str, status: int) -> None:
    if path in hub.calls[index] and hub.fault is None:
        hub.fault = Fault(index, status, lasting=True)


def test_tokens_that_may_not_write(hub: HubServer, tmp_path: Path) -> None:
    told = made.story()
    folder = made.released(tmp_path, told)
    told_of = {"hf_reader": "may only read", "hf_fine": "may write to no repository", "hf_wrong": "does not know"}
    for token, says in (*told_of.items(), (None, "there is no token")):
        with pytest.raises(InputError, match=says):
            made.pushed(told, folder, hub.url, token=token)
    assert hub.repos == {}


def test_a_repository_that_comes_out_public_gets_nothing(hub: HubServer, tmp_path: Path) -> None:
    hub.force_public = True
    told = made.story()
    with pytest.raises(HubError, match="public, although the recipe says private"):
        made.pushed(told, made.released(tmp_path, told), hub.url)
    assert hub.uploaded == 0 and set(hub.repo(EVALS, "dataset").tree()) == {".gitattributes"}


def test_a_file_that_changed_after_the_gate_is_not_released(hub: HubServer, tmp_path: Path) -> None:
    told = made.story()
    folder = made.released(tmp_path, told)
    (folder / "bf16" / "model.safetensors").write_text("other weights")
    with pytest.raises(DistillError, match="is not what was released"):
        made.pushed(told, folder, hub.url)
    assert hub.mains() == {}


def test_a_repository_that_was_renamed_is_named_anew(hub: HubServer, tmp_path: Path) -> None:
    hub.add("org/pupil", {})
    hub.renamed = {made.REPO: "org/pupil"}
    told = made.story()
    with pytest.raises(InputError, match=r"org/student is called org/pupil on the Hub"):
        made.pushed(told, made.released(tmp_path, told), hub.url)


def test_no_token_and_no_day_of_the_push_is_in_anything(hub: HubServer, tmp_path: Path) -> None:
    said: list[str] = []
    told = made.story(variants=["bf16", "nf4"], traces=True)
    folder = made.released(tmp_path, told)
    made.pushed(told, folder, hub.url, said.append)
    contents = [blob.content for repo in hub.repos.values() for tree in repo.commits.values() for blob in tree.values()]
    contents += ["\n".join(said).encode(), (folder.parent / "pushing.json").read_bytes()]
    today = time.strftime("%Y-%m-%d").encode()
    assert not [content for content in contents if b"hf_writer" in content or today in content]


def test_long_listings_are_read_to_their_end(hub: HubServer, tmp_path: Path) -> None:
    hub.page_size = 3
    folder = first(hub, tmp_path, variants=["bf16", "nf4"])
    commits = len(hub.repo(made.REPO).commits)
    made.pushed(made.story(variants=["bf16", "nf4"]), folder, hub.url)
    assert len(hub.repo(made.REPO).commits) == commits


def test_a_recipe_for_the_hub_is_checked_before_any_work(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"release.to: hub needs a token.*hf auth login"):
        check(made.recipe())
    check(made.recipe(to="folder"))
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    check(made.recipe())
    for release, says in (
        ({"repo": "org/a--b"}, "takes no repository"),
        ({"repo": "org/" + "a" * 95}, "takes no repository org/a+-evals"),
        ({"tag": "main"}, "cannot be a tag"),
        ({"tag": "v1..2"}, "cannot be a tag"),
    ):
        with pytest.raises(InputError, match=says):
            check(made.recipe(**release))
    closed = {"kind": "endpoint", "model": "gpt-5", "base_url": "https://api.openai.com/v1"}
    for to in ("hub", "folder"):
        with pytest.raises(InputError, match="OpenAI"):
            check(Recipe.model_validate(made.recipe(to=to).model_dump() | {"teacher": closed}))
    assert hub.calls == []
