"""What changes between pushes, and what a repository was before: whose eyes it is for, its layout, its boards."""

from dataclasses import replace
from pathlib import Path

import pytest

from distill.errors import DistillError, InputError
from distill.recipe import Recipe
from distill.release import hub as push_to_hub
from distill.release import layout
from distill.release.results import Board
from tests.release import made
from tests.release.hub_server import HubServer


def test_a_public_repository_gets_no_questions_that_must_not_be_online(hub: HubServer, tmp_path: Path) -> None:
    told = made.story(private=False)
    made.pushed(told, made.released(tmp_path / "1", told), hub.url)
    told, state = made.story(fingerprint="f2", private=False), hub.mains()
    tasks = [{"task": "distill_gpqa_diamond", "min": 0.5}, {"task": "distill_gsm8k", "min": 0.5}]
    told = replace(told, recipe=Recipe.model_validate(told.recipe.model_dump() | {"gate": {"tasks": tasks}}))
    folder = made.released(tmp_path / "2", told, "2")
    for adopt in (False, True):
        with pytest.raises(InputError, match=r"org/student-evals is public.*must not be put online.*private"):
            made.pushed(told, folder, hub.url, adopt=adopt)
    assert hub.mains() == state


def test_a_repository_that_is_private_although_the_recipe_says_public_is_told(hub: HubServer, tmp_path: Path) -> None:
    hub.force_private = True  # an organisation's rule
    told, said = made.story(private=False), []
    made.pushed(told, made.released(tmp_path, told), hub.url, said.append)
    assert hub.repo(made.REPO).private and any(f"{made.REPO} is private" in line for line in said)


def test_a_push_that_goes_on_reports_to_the_boards_of_its_beginning(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board("distill_gsm8k", "openai/gsm8k", "gsm8k", percent=True)
    monkeypatch.setattr(
        layout,
        "eval_results_files",
        lambda story, boards, source: {f".eval_results/{b.task_id}.yaml": "" for b in boards},
    )
    monkeypatch.setattr(push_to_hub, "boards", lambda api, say: [board])
    told = made.story()
    folder = made.released(tmp_path, told)
    made.pushed(told, folder, hub.url)
    state = hub.mains()
    assert ".eval_results/gsm8k.yaml" in state[made.REPO]
    monkeypatch.setattr(push_to_hub, "boards", lambda api, say: [])  # just now they cannot be looked up
    assert made.pushed(made.story(), folder, hub.url).tag == "v1" and hub.mains() == state


@pytest.mark.parametrize("text", ["[]", "7", '{"../../secret": "0"}', '{"/etc/hostname": "0"}'])
def test_hashes_that_are_none_of_a_release_send_nothing(hub: HubServer, tmp_path: Path, text: str) -> None:
    told = made.story()
    folder = made.released(tmp_path, told)
    (folder / "hashes.json").write_text(text)
    with pytest.raises(DistillError, match="is not what a release wrote"):
        made.pushed(told, folder, hub.url)
    assert hub.calls == []


def test_every_order_and_number_of_variants_has_its_first_at_the_root(hub: HubServer, tmp_path: Path) -> None:
    for at, variants in enumerate((["nf4"], ["int8", "nf4", "bf16"])):
        told = made.story(variants=variants, repo=f"Org.X/R1.5-Student_{at}", fingerprint=f"f{at}")
        hub.org = "Org.X"
        made.pushed(told, made.released(tmp_path / str(at), told), hub.url)
        tree = hub.repo(f"Org.X/R1.5-Student_{at}").tree()
        assert tree["model.safetensors"].content == f"{variants[0]} weights 1".encode()
        assert {path.partition("/")[0] for path in tree if path.endswith("/config.json")} == set(variants[1:])


def test_variants_may_move_from_one_repository_into_each_its_own_and_back(hub: HubServer, tmp_path: Path) -> None:
    for at, repos in enumerate(("one", "each", "one")):
        told = made.story(variants=["bf16", "nf4"], repos=repos, fingerprint=f"f{at}")
        assert made.pushed(told, made.released(tmp_path / str(at), told, str(at)), hub.url).tag == f"v{at + 1}"
        assert ("nf4/config.json" in hub.repo(made.REPO).tree()) == (repos == "one")
    assert hub.repo(f"{made.REPO}-nf4").tree()["model.safetensors"].content == b"nf4 weights 1"
