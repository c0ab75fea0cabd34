"""How the stage `gate` asks each model: a base by its own template, a server within its budget."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from distill import gate_stage
from distill.errors import EngineError
from distill.recipe import Recipe
from distill.records import Completion, Engine, Request, Sampling
from distill.road import Road
from distill.run import Run


class Server(ThreadingHTTPServer):
    """Answers every question with a bare answer, without any thinking; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        choice = {"finish_reason": "stop", "message": {"content": "\\boxed{7}"}}
        usage = {"prompt_tokens": 10, "completion_tokens": 90}
        text = json.dumps({"model": "r1", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


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


def asked(server: Server, **budget: Any) -> dict[str, Any]:
    return {
        "kind": "endpoint",
        "model": "r1",
        "base_url": f"http://127.0.0.1:{server.server_port}/v1",
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


def test_a_teacher_that_once_does_not_think_is_still_measured(server: Server, tmp_path: Path) -> None:
    [found] = ask(teacher(road(tmp_path, asked(server))), 1)
    assert isinstance(found, Completion) and found.answer == "\\boxed{7}" and not found.unfinished


def test_the_gate_keeps_to_a_servers_budget_also_when_it_is_begun_again(server: Server, tmp_path: Path) -> None:
    """At its worst a request has 165 tokens, and each cost 100: of 400 three fit, and then not one more."""
    here = road(tmp_path, asked(server, max_tokens=400))
    with pytest.raises(EngineError, match="300 of max_tokens: 400 are spent on it"):
        ask(teacher(here), 10)
    assert server.asked == 3
    with pytest.raises(EngineError, match="or take this model out"):
        ask(teacher(here), 10)
    assert server.asked == 3
    raised = road(tmp_path, asked(server, max_tokens=1000))
    assert len(ask(teacher(raised), 3)) == 3
