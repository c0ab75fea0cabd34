"""How the stage `gate` asks each model: a base by its own template, a server within its budget."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill import gate_stage
from distill.errors import EngineError
from distill.recipe import Recipe
from distill.records import Completion, Engine, Request, Sampling
from distill.road import Road
from distill.run import Run
from tests.chat_server import Body, ChatServer, serving


def bare(body: Body) -> tuple[int, Body]:
    """Answers every question with a bare answer, without any thinking."""
    choice = {"finish_reason": "stop", "message": {"content": "\\boxed{7}"}}
    return 200, {"model": "r1", "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 90}}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(bare) as made:
        yield made


def road(tmp_path: Path, teacher: dict[str, Any]) -> Road:
    tasks = [{"task": "distill_rg_chain_sum", "min": 0}, {"task": "distill_rg_aiw", "min": 0}]
    recipe = {
        "name": "x",
        "problems": [{"kind": "reasoning_gym", "task": "chain_sum", "size": 3}],
        "teacher": teacher,
        "student": {"base": "bundled:base"},
        "gate": {"tasks": tasks, "baselines": ["base", "teacher"]},
    }
    (tmp_path / "runs" / "x").mkdir(parents=True, exist_ok=True)
    return Road(Recipe.model_validate(recipe), Run(tmp_path / "runs" / "x"), lambda line: None)


def asked(server: ChatServer, **budget: Any) -> dict[str, Any]:
    return {
        "kind": "endpoint",
        "model": "r1",
        "base_url": server.url,
        "concurrency": 1,
        **({"budget": budget} if budget else {}),
    }


def ask(engine: Engine, count: int) -> list[Any]:
    requests = (Request(str(at), "?", at, Sampling(max_tokens=100)) for at in range(count))
    return [outcome for _, outcome in engine.complete(requests)]


def teacher(at: Road) -> Engine:
    engine: Engine = gate_stage._baseline(at, "teacher").load()
    return engine


def test_a_base_is_asked_by_its_own_template_and_a_student_thinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base that does not reason would never close a thinking that is opened for it, and would score nothing."""
    loaded: list[bool] = []
    monkeypatch.setattr("distill.engines.local.load", lambda path, **options: loaded.append(options["reasons"]))
    here = road(tmp_path, {"kind": "local", "model": "bundled:teacher"})
    base = gate_stage._baseline(here, "base")
    student = gate_stage._student(here, "bf16", Path(gate_stage.model_path("bundled:base")))
    base.load()
    student.load()
    assert loaded == [False, True]
    assert base.content != student.content, "asked otherwise, the same weights are another model"


def test_a_teacher_that_once_does_not_think_is_still_measured(server: ChatServer, tmp_path: Path) -> None:
    [found] = ask(teacher(road(tmp_path, asked(server))), 1)
    assert isinstance(found, Completion) and found.answer == "\\boxed{7}" and not found.unfinished


def test_the_gate_keeps_to_a_servers_budget_also_when_it_is_begun_again(server: ChatServer, tmp_path: Path) -> None:
    """At its worst a request has 165 tokens, and each cost 100: of 400 three fit, and then not one more."""
    here = road(tmp_path, asked(server, max_tokens=400))
    with pytest.raises(EngineError, match="300 of max_tokens: 400 are spent on it"):
        ask(teacher(here), 10)
    assert len(server.bodies) == 3
    with pytest.raises(EngineError, match="or take this model out"):
        ask(teacher(here), 10)
    assert len(server.bodies) == 3
    raised = road(tmp_path, asked(server, max_tokens=1000))
    assert len(ask(teacher(raised), 3)) == 3
