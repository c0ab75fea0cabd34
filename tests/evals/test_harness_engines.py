"""The harness over real engines: a model on this machine, and a server over loopback."""

import importlib.util
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from distill import engines
from distill.errors import EngineError
from distill.samples import read_samples
from distill.teacher_sections import EndpointTeacher
from evals import Subject, evaluate
from tests.chat_server import Body, ChatServer, serving

_spec = importlib.util.spec_from_file_location("evals_measuring", Path(__file__).with_name("measuring.py"))
assert _spec is not None and _spec.loader is not None
measuring = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measuring)
MATH, LOGIC = measuring.MATH, measuring.LOGIC


def test_batch_size_and_order_change_no_sample(tmp_path: Path) -> None:
    from distill.engines.local import load

    found = []
    rows = [{"question": f"{at} + {at * 7 % 31} + {2 * at} =", "answer": f"#### {at}"} for at in range(6)]
    for batch_size in (1, 7):
        root = tmp_path / str(batch_size)
        root.mkdir()
        random.Random(batch_size).shuffle(rows)
        tasks = measuring.files(root / "data")
        tasks[MATH]["path"] = measuring.lines(root / "data/g.jsonl", *rows)
        section = measuring.gate(tasks, sampling={"max_tokens": 24}, repeats=2)
        engine = load("bundled:base", batch_size=batch_size, dtype="float32")
        subject = Subject("base", "bundled", lambda engine=engine: engine)  # type: ignore[misc]
        evaluate(subject, section, measuring.verifier, root / "run", root / "store", say=lambda line: None)
        samples = list(read_samples(root / "run", MATH))
        found.append({(sample.prompt, sample.seed): sample.completion for sample in samples})
    assert found[0] == found[1] and len(found[0]) == 12
    assert len({completion.reasoning + completion.answer for completion in found[0].values()}) > 8


def drawn(body: Body, bad: str = "") -> tuple[int, Body]:
    """Answers 7 and the seed, or HTTP 500 where the prompt holds `bad`."""
    if bad and bad in body["messages"][0]["content"]:
        return 500, {"error": "overloaded"}
    message = {"role": "assistant", "content": f"I drew {body['seed']}.</think>\\boxed{{7}}"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return 200, {"model": body["model"], "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 12}}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving(drawn) as made:
        yield made


def served(server: ChatServer) -> Subject:
    section = EndpointTeacher(
        kind="endpoint", model="org/student", base_url=server.url, max_retries=0, concurrency=4, timeout_s=20
    )
    return Subject("bf16", "served", lambda: engines.connect(section, reasons=False))


def test_every_repeat_carries_a_seed_of_its_own_on_the_wire(server: ChatServer, tmp_path: Path) -> None:
    section = measuring.gate(measuring.files(tmp_path / "data"), repeats=5)
    scores = evaluate(
        served(server), section, measuring.verifier, tmp_path / "run", tmp_path / "store", say=lambda line: None
    )
    seeds: dict[str, list[int]] = defaultdict(list)
    for body in server.bodies:
        seeds[body["messages"][0]["content"]].append(body["seed"])
        assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.6, 0.95, 77)
    assert len(seeds) == 4 and all(sorted(found) == [40, 41, 42, 43, 44] for found in seeds.values())
    for sample in read_samples(tmp_path / "run", MATH):
        assert sample.completion.reasoning == f"I drew {sample.seed}.", "each answer stands under its own seed"
    assert scores[0].tokens == 15 * 12
    [path] = (tmp_path / "run" / MATH).glob("results_*.json")
    told = json.loads(path.read_text())["distill"]
    assert told["engines"] == ["EndpointEngine"] and told["served"] == ["org/student"]
    assert told["providers"] == ["127.0.0.1"] and told["seeds"] == [40, 41, 42, 43, 44]


def test_a_failed_request_fails_the_evaluation_and_the_rest_is_kept(server: ChatServer, tmp_path: Path) -> None:
    section = measuring.gate(measuring.files(tmp_path / "data"), repeats=2)
    server.answer = partial(drawn, bad="What is 1")

    def run() -> None:
        evaluate(
            served(server), section, measuring.verifier, tmp_path / "run", tmp_path / "store", say=lambda line: None
        )

    with pytest.raises(EngineError, match="samples failed, and a score with holes is no score") as raised:
        run()
    assert "HTTP500" in str(raised.value) and "\n" not in str(raised.value)
    asked = Counter((body["messages"][0]["content"], body["seed"]) for body in server.bodies)
    assert all(count == 1 for count in asked.values())
    good = {key for key in asked if "What is 1" not in key[0]}
    [journal] = (tmp_path / "store").glob("*/answers.jsonl")
    assert len(journal.read_text().splitlines()) == len(good) >= 2
    server.answer, before = drawn, len(server.bodies)
    run()
    again = {(body["messages"][0]["content"], body["seed"]) for body in server.bodies[before:]}
    assert not again & good and len(server.bodies) - before == 6 - len(good) + 2
