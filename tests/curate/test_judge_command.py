"""The judge as a user meets it: in a recipe, through the command, with a server that can fail."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from distill import shards
from distill.records import Dropped, Kept

ROOT = Path(__file__).resolve().parents[2]
TRACES = [  # what no rule can decide, what it finds wrong, and what it finds right
    ("Name a prime between 20 and 30.", "23 or 29, whichever you like", "\\boxed{29}"),
    ("How many minutes are in one and a half hours?", "90", "\\boxed{1.5\\text{ hours}}"),
    ("What is 2 + 2?", "4", "\\boxed{4}"),
    ("What is 5 + 5?", "10", "\\boxed{11}"),
]


class Judge:
    """A plain model that finds right what is in `right`; it counts what it was asked, and may be `broken`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False
        self.right = ("29", "1.5")
        self.loop = asyncio.new_event_loop()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        prompt = body["messages"][0]["content"]
        self.asked.append(prompt)
        if self.broken:
            return web.json_response({"error": {"message": "the judge is out"}}, status=500)
        said = "RIGHT" if any(f"boxed{{{text}" in prompt for text in self.right) else "WRONG"
        message = {"role": "assistant", "content": f"I compared them.\nVERDICT: {said}"}
        usage = {"prompt_tokens": 300, "completion_tokens": 9}
        return web.json_response(
            {"model": "j", "choices": [{"finish_reason": "stop", "message": message}], "usage": usage}
        )

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"


@pytest.fixture
def judge() -> Iterator[Judge]:
    found = Judge()
    thread = threading.Thread(target=found.loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(found.start(), found.loop).result(60)
    yield found
    asyncio.run_coroutine_threadsafe(found.runner.cleanup(), found.loop).result(60)
    found.loop.call_soon_threadsafe(found.loop.stop)
    thread.join(10)


def curate(folder: Path, judge: Judge, **section: Any) -> subprocess.CompletedProcess[str]:
    rows = [{"q": q, "gold": gold, "text": f"Let me see.</think>So {answer}."} for q, gold, answer in TRACES]
    (folder / "traces.json").write_text(json.dumps(rows))
    (folder / "gsm8k.jsonl").write_text(json.dumps({"question": "How much is seven and one?", "answer": "#### 8"}))
    (folder / "bbh.jsonl").write_text(json.dumps({"input": "Is one one?\nOptions:\n- Yes\n- No", "target": "Yes"}))
    engine = {"kind": "endpoint", "model": "j", "base_url": judge.url, "max_retries": 0}
    recipe = {
        "name": "judged",
        "teacher": {
            "kind": "replay",
            "path": "traces.json",
            "columns": {"prompt": "q", "answer": "gold", "text": "text"},
        },
        "curate": {"judge": {"engine": engine, **section}},
        "student": {"base": "bundled:base"},
        "gate": {
            "tasks": [
                {"task": f"distill_{task}", "path": f"{task.partition('_')[0]}.jsonl", "min": 0.1}
                for task in ("gsm8k", "bbh_logic")
            ]
        },
    }
    (folder / "judged.yaml").write_text(yaml.safe_dump(recipe))
    return subprocess.run(
        [sys.executable, "-m", "distill.cli", "curate", "judged.yaml", "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )


def outcome(folder: Path) -> dict[str, str]:
    kept = shards.read_parts(folder / "runs" / "judged" / "3-kept", Kept)
    dropped = shards.read_parts(folder / "runs" / "judged" / "3-kept" / "dropped", Dropped)
    found = {one.problem.prompt: "kept" for one in kept}
    return found | {one.trace.problem.prompt: one.reason for one in dropped}


def test_the_judge_rescues_and_its_votes_outlive_a_changed_recipe(tmp_path: Path, judge: Judge) -> None:
    done = curate(tmp_path, judge, combine="rescue", votes=3)
    assert done.returncode == 0, done.stderr
    prime, minutes, two, five = (question for question, _, _ in TRACES)
    assert outcome(tmp_path) == {prime: "kept", minutes: "kept", two: "kept", five: "wrong_answer"}
    assert len(judge.asked) == 9 and not any(two in prompt for prompt in judge.asked)
    assert not any("Let me see" in prompt for prompt in judge.asked), "the reasoning is not the judge's to read"
    facts = json.loads(done.stdout)["stages"]["curate"]["judge"]
    assert (facts["asked"], facts["right"], facts["wrong"], facts["valid_votes"]) == (3, 2, 1, 9)
    kept = {one.problem.prompt: one for one in shards.read_parts(tmp_path / "runs" / "judged" / "3-kept", Kept)}
    assert [(ruling.by, ruling.right) for ruling in kept[prime].rulings][1:] == [("j", True)]
    peeked = subprocess.run(
        [sys.executable, "-m", "distill.cli", "peek", "judged", "kept", "-n", "9"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[j: right, 3 right of 3 votes]" in peeked.stdout
    again = curate(tmp_path, judge, combine="rescue", votes=3, max_answers=50)
    assert again.returncode == 0 and "3-kept: begins" in again.stderr
    assert len(judge.asked) == 9, "votes that are there are not asked for again"


def test_agree_keeps_only_what_is_right_for_both(tmp_path: Path, judge: Judge) -> None:
    judge.right = ("29",)
    assert curate(tmp_path, judge, combine="agree").returncode == 0
    assert "kept" not in outcome(tmp_path).values() and len(judge.asked) == 1
    judge.right = ("4",)
    (tmp_path / "runs" / "judged" / "votes.jsonl").unlink()
    assert curate(tmp_path, judge, combine="agree", votes=1, max_answers=9).returncode == 0
    assert [question for question, what in outcome(tmp_path).items() if what == "kept"] == ["What is 2 + 2?"]


def test_a_broken_judge_is_the_judges_failure(tmp_path: Path, judge: Judge) -> None:
    judge.broken = True
    done = curate(tmp_path, judge, combine="rescue")
    assert done.returncode == 0, done.stderr
    assert sorted(outcome(tmp_path).values()) == ["judge_failed"] * 3 + ["kept"]
    assert "a vote of the judge failed" in done.stderr
    judge.broken = False
    (tmp_path / "runs" / "judged" / "3-kept" / "manifest.json").unlink()
    assert curate(tmp_path, judge, combine="rescue").returncode == 0
    assert sorted(outcome(tmp_path).values()) == ["kept", "kept", "kept", "wrong_answer"]


def test_a_judge_that_is_not_there_stops_with_one_sentence(tmp_path: Path, judge: Judge) -> None:
    judge.url = "http://127.0.0.1:9/v1"
    done = curate(tmp_path, judge, combine="rescue")
    assert done.returncode == 3 and "no server answers at http://127.0.0.1:9/v1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs" / "judged" / "3-kept" / "manifest.json").exists()
