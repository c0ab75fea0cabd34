"""Where the release before is found: in folders, and on the Hub."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from distill.errors import InputError
from distill.release.previous import previous
from tests.release import made
from tests.release.hub_server import HubServer


def _model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return folder


def test_a_folder_of_weights_and_a_release_folder(tmp_path: Path) -> None:
    assert previous(str(_model(tmp_path / "weights")), tmp_path) == tmp_path / "weights"
    bf16 = _model(tmp_path / "release" / "bf16")
    _model(tmp_path / "release" / "nf4")
    assert previous(str(tmp_path / "release"), tmp_path) == bf16
    only = _model(tmp_path / "small" / "nf4")
    assert previous(str(tmp_path / "small"), tmp_path) == only


def test_folders_that_hold_no_one_model(tmp_path: Path) -> None:
    (tmp_path / "empty" / "bf16").mkdir(parents=True)
    (tmp_path / "empty" / "bf16" / "config.json").write_text("{}")
    (tmp_path / "empty" / "bf16" / "pytorch_model.bin").write_text("a pickle")
    with pytest.raises(InputError, match="it holds no model"):
        previous(str(tmp_path / "empty"), tmp_path)
    for name in ("int8", "nf4"):
        _model(tmp_path / "two" / name)
    with pytest.raises(InputError, match=r"it holds int8, nf4.*write the folder of one variant"):
        previous(str(tmp_path / "two"), tmp_path)
    with pytest.raises(InputError, match=r"there is no folder \./gone"):
        previous("./gone", tmp_path)


@pytest.fixture
def online(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return hub


def test_a_repository_by_its_tag_and_by_its_main(online: HubServer, tmp_path: Path) -> None:
    for mark in ("1", "2"):
        told = made.story(fingerprint=mark, variants=["bf16", "nf4"])
        made.pushed(told, made.released(tmp_path / mark, told, mark), online.url)
    old = previous(f"{made.REPO}@v1", tmp_path / "cache")
    new = previous(made.REPO, tmp_path / "cache")
    assert (old / "model.safetensors").read_text() == "bf16 weights 1"
    assert (new / "model.safetensors").read_text() == "bf16 weights 2"
    assert not (new / "nf4").exists(), "only the main variant is downloaded"


def test_pickles_and_code_are_never_downloaded(online: HubServer, tmp_path: Path) -> None:
    files = dict.fromkeys(("config.json", "model.safetensors", "pytorch_model.bin", "modeling.py", "a.pt"), b"x")
    online.add(made.REPO, files)
    folder = previous(made.REPO, tmp_path / "cache")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}


def test_repositories_that_cannot_be_read_or_hold_no_model(online: HubServer, tmp_path: Path) -> None:
    online.add("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    for where, says in (
        ("org/none", "org/none is no folder here, and cannot be read from the Hub"),
        ("org/pickled@v9", "org/pickled@v9 is no folder here, and cannot be read"),
        ("org/pickled", "no model in safetensors at its root"),
    ):
        with pytest.raises(InputError, match=says) as caught:
            previous(where, tmp_path / "cache")
        assert "\n" not in str(caught.value)
