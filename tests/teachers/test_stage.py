"""The command `distill sample` as a user types it, against a server on this machine."""

import json
import re
import signal
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from distill import shards
from distill.journal import scan
from distill.records import Trace

KEY = "sk-planted-0123456789"
REPLAY = "teacher={kind: replay, path: x.jsonl, columns: {text: t}}"
PRICES = {"usd_per_million_input": 1.0, "usd_per_million_output": 10.0}


def hard(number: int, seed: int) -> bool:
    """A third is never solved, a third sometimes, a third always."""
    return number % 3 == 0 or (number % 3 == 1 and (number + seed) % 3 > 0)


def sealed(run: Path) -> dict[str, Trace]:
    traces = list(shards.read_parts(run / "2-traces", Trace))
    assert len({trace.id for trace in traces}) == len(traces)
    return {trace.id: trace for trace in traces}


def alike(trace: Trace) -> Any:
    return trace.problem, trace.completion, trace.teacher, trace.seed, trace.sampling, trace.cost_usd


def test_four_shards_at_once_equal_one_run(tmp_path: Path, counting: Any, command: Any) -> None:
    counting.wrong = hard
    recipe = command.recipe(120, keep_per_problem=1, max_per_problem=6)
    processes = [command.start("sample", recipe, "--shard", f"{part}/4", "--runs", "parts") for part in range(1, 5)]
    for process in processes:
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 0 and "shard" in said, said
    asked = len(counting.asked[0])
    code, said = command.run("sample", recipe, "--runs", "parts")
    assert code == 0 and said.count("taken over from the shard") == 4, said
    assert len(counting.asked[0]) == asked, "merging asked for something again"
    code, said = command.run("sample", recipe, "--runs", "whole")
    assert code == 0, said
    parts, whole = sealed(tmp_path / "parts" / "loopback"), sealed(tmp_path / "whole" / "loopback")
    assert {name: alike(trace) for name, trace in parts.items()} == {
        name: alike(trace) for name, trace in whole.items()
    }
    assert not list((tmp_path / "parts" / "loopback" / "2-traces").glob("shards/*"))


def test_a_shard_that_is_at_work_is_not_taken_over_nor_run_twice(counting: Any, command: Any, tmp_path: Path) -> None:
    counting.longest_s = 3.0
    recipe = command.recipe(40, concurrency=4)
    first = command.start("sample", recipe, "--shard", "1/2")
    journal = tmp_path / "runs" / "loopback" / "2-traces" / "shards" / "1-of-2" / "journal.jsonl"
    while not (journal.exists() and journal.stat().st_size):
        assert first.poll() is None
        time.sleep(0.01)
    counting.longest_s = 600.0  # the first shard stays at work however slow the others are
    for arguments in (["--shard", "1/2"], []):
        code, said = command.run("sample", recipe, *arguments)
        assert code == 3 and "is being sampled by another process" in said and "Traceback" not in said
    first.kill()
    first.communicate()
    there = {trace.id for _, trace in scan(journal, Trace)}
    counting.longest_s, counting.asked = 0.05, [[]]
    code, said = command.run("sample", recipe)
    assert code == 0 and len(sealed(tmp_path / "runs" / "loopback")) == 40, said
    assert len(counting.asked[0]) == 40 - len(there)


def test_an_estimate_asks_for_a_few_and_they_count(tmp_path: Path, counting: Any, command: Any) -> None:
    counting.tokens = lambda body: 200 + zlib.crc32(str(body["messages"]).encode()) % 700
    recipe = command.recipe(300, budget=PRICES, max_per_problem=2)
    code, said = command.run("sample", recipe, "--estimate", "30", "--json")
    assert code == 0, said
    found = json.loads(said.splitlines()[-1])
    assert (found["problems"], found["asked"], found["traces"], found["right"]) == (300, 30, 60, 60)
    assert len(counting.asked[0]) == 60 and "goes on from them" in said
    assert not (tmp_path / "runs" / "loopback" / "2-traces" / "manifest.json").exists()
    code, said = command.run("sample", recipe)
    assert code == 0 and "60 traces are there already" in said and len(counting.asked[0]) == 600
    manifest = json.loads((tmp_path / "runs" / "loopback" / "2-traces" / "manifest.json").read_text())
    assert manifest["spent_tokens"] == sum(map(sum, counting.billed))
    assert found["usd"]["low"] <= manifest["cost_usd"] <= found["usd"]["high"]
    assert found["tokens"]["low"] <= manifest["spent_tokens"] <= found["tokens"]["high"]
    assert manifest["providers"] == ["Here"] and manifest["served_models"] == ["r1"]
    code, said = command.run("sample", recipe, "--estimate", "5")
    assert code == 2 and "is done already" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--shard", "0/4"], "is no part of a whole"),
        (["--shard", "5/4"], "write 1/8"),
        (["--shard", "one"], "is no part of a whole"),
        (["--estimate", "0"], "write a number such as 50"),
        (["--estimate", "3", "--shard", "1/2"], "write one of them"),
        (["--estimate", "3", "--set", REPLAY, "--set", "problems=[]"], "asks nobody"),
        (["--set", "teacher.budget={max_usd: 5}"], "usd_per_million_input"),
        (["--set", "teacher.budget={}"], "it says nothing"),
        (["--set", "teacher.give_up_after=3"], "keep_per_problem"),
        (["--set", "teacher.base_url=http://me:secret@127.0.0.1/v1"], "holds a password"),
        (["--set", "teacher.extra_body={max_tokens: 5}"], "written by the sampler"),
    ],
)
def test_what_cannot_be_asked_for_is_said(tmp_path: Path, command: Any, arguments: list[str], says: str) -> None:
    code, said = command.run("sample", command.recipe(3), *arguments)
    assert code == 2 and says in said and "Traceback" not in said, said
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_waits_for_what_is_in_flight(tmp_path: Path, counting: Any, command: Any) -> None:
    counting.longest_s = 1.0
    process = command.start("sample", command.recipe(400, concurrency=8))
    journal = tmp_path / "runs" / "loopback" / "2-traces" / "journal.jsonl"
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 130, said
    assert re.search("nothing new is sent; waiting up to 120 s for [1-8] in flight", said), said
    assert "traces are kept, and the same command goes on from there" in said and "Traceback" not in said
    there = {f"{trace.problem.ask}#{trace.seed}" for _, trace in scan(journal, Trace)}
    assert there == set(counting.asked[0]), "something that was asked for was not waited for"
    assert f"{len(there)} traces are kept" in said


@pytest.mark.parametrize("again", [True, False])
def test_a_second_ctrl_c_or_the_end_of_the_grace_ends_the_wait(counting: Any, command: Any, again: bool) -> None:
    counting.longest_s = 3000.0
    process = command.start("sample", command.recipe(40, concurrency=8, grace_s=3000 if again else 0.5))
    while not counting.asked[0]:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None and any("waiting up to" in line for line in process.stdout)
    if again:
        process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=240)  # some of the answers would take ten times as long
    assert process.returncode == 130
    assert "the same command goes on from here" in said and "Traceback" not in said, said


def test_the_cap_holds_through_kills_and_is_gone_on_from_when_raised(
    tmp_path: Path, counting: Any, command: Any
) -> None:
    counting.tokens = lambda body: body["max_tokens"] - 10
    budget = PRICES | {"max_usd": 0.5}
    settings = {"concurrency": 8, "sampling": {"max_tokens": 1000}, "grace_s": 0}
    recipe = command.recipe(200, budget=budget, **settings)
    for _ in range(3):
        process = command.start("sample", recipe)
        asked = len(counting.asked[0])
        while len(counting.asked[0]) < asked + 9 and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.communicate()
    code, said = command.run("sample", recipe)
    assert code == 3 and "the budget does not hold one more request" in said, said
    assert re.search(r"at least \d+ more requests are to be sent; raise it to go on; \d+ traces are kept", said)
    billed = sum(prompt + 10 * answer for prompt, answer in counting.billed) / 1e6
    assert 0.5 * 0.5 < billed <= 0.5, billed
    code, said = command.run("sample", recipe, "--set", "teacher.budget.max_usd=9")
    assert code == 0 and len(sealed(tmp_path / "runs" / "loopback")) == 200, said


def test_the_key_is_nowhere_on_disk_and_never_said(tmp_path: Path, counting: Any, command: Any) -> None:
    code, said = command.run("sample", command.recipe(20, budget=PRICES))
    assert code == 0 and KEY not in said
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(files) > 5 and all(KEY.encode() not in path.read_bytes() for path in files)
    assert all(KEY not in str(trace) for trace in sealed(tmp_path / "runs" / "loopback").values())


def test_two_commands_on_one_run_do_not_meet(counting: Any, command: Any) -> None:
    counting.longest_s = 600.0
    recipe = command.recipe(40, concurrency=4)
    first = command.start("sample", recipe)
    while not counting.asked[0]:
        assert first.poll() is None
        time.sleep(0.01)
    code, said = command.run("sample", recipe)
    assert code == 3 and "another distill is at work on" in said
    first.kill()
    first.communicate()


def test_shards_share_the_cap(tmp_path: Path, counting: Any, command: Any) -> None:
    counting.tokens = lambda body: body["max_tokens"]
    budget = PRICES | {"max_usd": 0.4}
    recipe = command.recipe(200, budget=budget, concurrency=8, sampling={"max_tokens": 1000})
    code, said = command.run("sample", recipe, "--estimate", "8")
    assert code == 0, said
    processes = [command.start("sample", recipe, "--shard", f"{part}/2") for part in (1, 2)]
    for process in processes:
        said, _ = process.communicate(timeout=400)
        assert process.returncode == 3 and "the budget does not hold one more request" in said, said
    billed = sum(prompt + 10 * answer for prompt, answer in counting.billed) / 1e6
    assert 0.36 < billed <= 0.4
    code, said = command.run("sample", recipe)
    assert code == 3 and f"{len(counting.billed)} traces are kept" in said, said
    code, said = command.run("sample", recipe, "--set", "teacher.budget.max_usd=9")
    assert code == 0 and len(sealed(tmp_path / "runs" / "loopback")) == len(counting.billed) == 200


def test_a_torn_line_is_cut_off_and_said(tmp_path: Path, counting: Any, command: Any) -> None:
    recipe = command.recipe(30)
    assert command.run("sample", recipe, "--estimate", "10")[0] == 0
    journal = tmp_path / "runs" / "loopback" / "2-traces" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-100])
    code, said = command.run("sample", recipe)
    assert code == 0 and "was torn" in said and "9 traces are there already" in said, said
    assert len(sealed(tmp_path / "runs" / "loopback")) == 30 and len(counting.asked[0]) == 31


def test_another_served_model_stops_the_run_unless_the_recipe_allows_it(counting: Any, command: Any) -> None:
    recipe = command.recipe(5, model="r1-0528")
    code, said = command.run("sample", recipe)
    assert code == 3 and "asked for the model 'r1-0528', and the server answered with 'r1'" in said
    code, said = command.run("sample", recipe, "--set", "teacher.allow_other_model=true")
    assert code == 0 and "'r1' answers, which the recipe allows" in said


def test_a_spent_budget_may_go_on_with_what_is_there(tmp_path: Path, counting: Any, command: Any) -> None:
    counting.tokens = lambda body: body["max_tokens"]
    budget = PRICES | {"max_usd": 0.2, "when_spent": "go_on"}
    recipe = command.recipe(60, budget=budget, sampling={"max_tokens": 1000})
    code, said = command.run("sample", recipe)
    assert code == 0 and "more requests are to be sent; raise it to go on; going on with 19 traces" in said, said
    manifest = json.loads((tmp_path / "runs" / "loopback" / "2-traces" / "manifest.json").read_text())
    assert manifest["left_undone"] == 41 and len(sealed(tmp_path / "runs" / "loopback")) == 19
    code, said = command.run("sample", recipe)
    assert code == 0 and "2-traces: already done" in said
    code, said = command.run("sample", recipe, "--set", "teacher.budget.max_usd=2")
    assert code == 0 and "19 traces are there already" in said and len(sealed(tmp_path / "runs" / "loopback")) == 60
    assert len(counting.billed) == 60
