"""The release folder: what is in it, and when there is none."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import distill.release
from distill.errors import DistillError, GateClosed, InputError
from distill.release import publish
from distill.run import hash_path
from tests.release import made


@pytest.fixture(autouse=True)
def _short_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    made.plain_cards(monkeypatch.setattr)


def test_a_folder_holds_variants_card_licence_lineage_records_and_hashes(tmp_path: Path) -> None:
    folder = made.released(tmp_path, made.story(to="folder", variants=["bf16", "int8"]))
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert held == {
        *("README.md", "hashes.json", "LICENSE", "NOTICE"),
        *("bf16/config.json", "bf16/model.safetensors", "int8/config.json", "int8/model.safetensors"),
        *("lineage/5-gate/reports.json", "lineage/3-kept/part-00000.parquet"),
        *(
            f"evals/{who}/distill_gsm8k/{name}"
            for who in ("bf16", "int8", "base")
            for name in (
                "results_2026-11-20T10-00-00.json",
                "samples_distill_gsm8k_2026-11-20T10-00-00.jsonl",
            )
        ),
    }, "the gate's own caches are no records"
    hashes = json.loads((folder / "hashes.json").read_text())
    assert hashes == {
        path: hashlib.sha256((folder / path).read_bytes()).hexdigest() for path in held if path != "hashes.json"
    }


def test_a_closed_gate_publishes_nothing(tmp_path: Path) -> None:
    for reports in ([], [made.report("nf4")], [made.report("bf16", "fail")], [made.report("bf16", smoke=True)]):
        with pytest.raises(GateClosed, match="bf16"):
            made.released(tmp_path, made.story(reports, to="folder"))
    assert not (tmp_path / "6-release").exists()


def test_a_waived_check_publishes(tmp_path: Path) -> None:
    told = made.story([made.report("bf16", "fail", waiver="a known loss, told on the card (A. Person)")], to="folder")
    assert (made.released(tmp_path, told) / "bf16" / "model.safetensors").exists()


def test_a_licence_that_forbids_it_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(story: Any) -> Any:
        raise InputError("forbidden")

    monkeypatch.setattr(distill.release, "settle", forbidden)
    with pytest.raises(InputError, match="forbidden"):
        made.released(tmp_path, made.story(to="folder"))
    assert not (tmp_path / "6-release").exists()


def test_an_old_release_stays_whole_until_the_new_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = made.story(to="folder")
    folder = made.released(tmp_path, told, extra="added_tokens.json")

    def broken(*arguments: Any, **more: Any) -> str:
        raise DistillError("no card")

    with monkeypatch.context() as patch, pytest.raises(DistillError, match="no card"):
        patch.setattr(distill.release, "model_card", broken)
        made.released(tmp_path, told, "2")
    assert (folder / "bf16" / "model.safetensors").read_text() == "bf16 weights 1"
    (tmp_path / "variants" / "bf16" / "added_tokens.json").unlink()
    made.released(tmp_path, told, "2")
    assert (folder / "bf16" / "model.safetensors").read_text() == "bf16 weights 2"
    assert not (folder / "bf16" / "added_tokens.json").exists() and not list(folder.parent.glob("*.partial"))


def test_a_copy_that_differs_from_what_was_gated_is_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right: Callable[[Path], dict[str, str]] = distill.release.hash_files
    monkeypatch.setattr(
        distill.release,
        "hash_files",
        lambda folder: right(folder) | ({"model.safetensors": "0"} if folder.name == "bf16" else {}),
    )
    with pytest.raises(DistillError, match="differs from what was gated"):
        made.released(tmp_path, made.story(to="folder"))
    assert not (tmp_path / "6-release" / "student").exists()


def test_a_story_without_its_variants_publishes_nothing(tmp_path: Path) -> None:
    told = made.story(to="folder")
    with pytest.raises(GateClosed, match="nf4"):
        publish(told, {"bf16": tmp_path, "nf4": tmp_path}, [], tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pytorch_model.bin", "is a pickle"),
        ("sub/optimizer.pt", "is a pickle"),
        ("modeling_student.py", "student.trust_remote_code"),
        (".gitattributes", "is hidden"),
        (".eval_results/gsm8k.yaml", "is hidden"),
        ("distill.json", "a release writes itself"),
        ("hashes.json", "a release writes itself"),
    ],
)
def test_what_no_release_passes_on_is_no_release(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(DistillError, match=says):
        made.released(tmp_path, made.story(to="folder"), extra=name)
    assert not (tmp_path / "6-release").exists()


def test_a_link_is_no_release(tmp_path: Path) -> None:
    told = made.story(to="folder")
    run = made.run(tmp_path, ("bf16",))
    (tmp_path / "secret").write_text("secret")
    (run / "variants" / "bf16" / "notes.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(DistillError, match=r"notes.txt is a link"):
        publish(told, {"bf16": run / "variants" / "bf16"}, [], run / "scores", run / "out")


def test_code_goes_along_where_the_recipe_trusts_it(tmp_path: Path) -> None:
    told = made.story(to="folder")
    student = told.recipe.student.model_copy(update={"trust_remote_code": True})
    told = replace(told, recipe=told.recipe.model_copy(update={"student": student}))
    assert (made.released(tmp_path, told, extra="modeling_student.py") / "bf16" / "modeling_student.py").exists()


@pytest.mark.parametrize("asked", ["", "-0123456789abcdef"])
def test_weights_that_changed_after_they_were_measured_are_no_release(tmp_path: Path, asked: str) -> None:
    told = made.story(to="folder")
    run = made.run(tmp_path, ("bf16",))
    weights = run / "variants" / "bf16"
    record = run / "scores" / "bf16" / "distill_gsm8k" / "results_2026-11-20T10-00-00.json"
    record.write_text(json.dumps({"distill": {"model_content": f"{hash_path(str(weights))}{asked}"}}))
    publish(told, {"bf16": weights}, [], run / "scores", run / "out")
    (weights / "model.safetensors").write_text("other weights")
    with pytest.raises(DistillError, match=r"bf16 is not what the gate measured"):
        publish(told, {"bf16": weights}, [], run / "scores", run / "out")
    assert (run / "out" / "bf16" / "model.safetensors").read_text() == "bf16 weights 1"
