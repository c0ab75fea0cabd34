"""The pool: order, hostile answers, lost workers, R1's own finals."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from math_verify import parse, verify

from distill import think
from distill.answers import reference_answer
from distill.curate.verify import VerifierPool
from distill.errors import DistillError
from distill.records import Problem

HALF = Problem.of("?", "\\frac{1}{2}", "math", "test")
FINE = (HALF, "\\boxed{\\frac{2}{4}}")


@pytest.fixture(scope="module")
def pool() -> Iterator[VerifierPool]:
    with VerifierPool(workers=2, timeout_s=2, memory_mb=1024) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def patient() -> Iterator[VerifierPool]:
    """For what real models said, none of which is hostile, on a machine that is busy with other things."""
    with VerifierPool(workers=2, timeout_s=60) as verifier:
        yield verifier


def test_judgements_come_in_order(pool: VerifierPool) -> None:
    answers = [(HALF, "\\boxed{0.5}"), (HALF, ""), FINE, (HALF, "\\boxed{\\frac{1}{3}}"), FINE]
    assert [judgement.right for judgement in pool(answers)] == [True, False, True, False, True]
    assert pool([]) == []


def test_hostile_answers_cost_no_other_answer(pool: VerifierPool) -> None:
    hostile = [
        "9**9**9",
        "\\boxed{9^{9^{9^{9}}}}",
        "\\boxed{" + "{" * 10_000 + "}" * 10_000 + "}",
        "\\boxed{" + "(" * 5_000 + "1" + ")" * 5_000 + "}",
        "7" * 1_000_000,
        "\\boxed{" + "7" * 19_000 + "}",
        "\\boxed{\\sqrt{" * 2_000,
        "\x00\ud800 \\boxed{\ud800}",
    ]
    answers = [pair for text in hostile for pair in (FINE, (HALF, text))]
    judged = pool([*answers, FINE])
    assert all(judgement.right for judgement in judged[::2])
    assert not any(judgement.right for judgement in judged[1::2])
    assert all(judgement.detail for judgement in judged[1::2])
    assert judged[1].right is None and judged[9].right is None


def test_hostile_answers_end_as_unverifiable(pool: VerifierPool) -> None:
    towers = ["9**9**9", "\\boxed{9^{9^{9^{9}}}}", "\\boxed{10^{10^{10}}}", "\\boxed{9!!!!!!!}"]
    too_much = [
        "7" * 1_000_000,
        "\\boxed{" + "7" * 1_000_000 + "}",
        "{" * 10_000,
        "\\boxed{" + "(" * 400 + ")" * 400 + "}",
    ]
    broken = ["\\boxed{\\sqrt{" * 2_000, "\\boxed{\\frac{1}{2}", "\\(" * 5_000, "$\\frac{1}{2$", "\\boxed{\\left(1}"]
    judged = pool([(HALF, text) for text in [*towers, *too_much, *broken]])
    assert [judgement.right for judgement in judged] == [None] * 13
    assert all(judgement.detail == "took longer than 2 s" for judgement in judged[:4])


def test_strings_are_never_slow_however_hostile(pool: VerifierPool) -> None:
    pieces = [
        "A ",
        "(A) or ",
        "answer is ",
        "zoey and ",
        "zoey is ",
        "knights: ",
        "\\text{",
        "<answer>",
        "<think>",
        "1. a\n",
        "|",
    ]
    solution = {"Zoey": False, "Ethan": True}
    problems = [
        Problem.of("?\n(A) one\n(B) two", "(B)", "choice", "test"),
        Problem.of("?", "valid", "text", "test"),
        Problem.of("?", "apple banana", "text", "test"),
        Problem.of("?", "] >", "text", "test"),
        Problem.of("?", "", "rule", "test", rule="knights_knaves", solution=solution),
        Problem.of("?\n1. a\n2. b", "2", "rule", "test", rule="lineage"),
    ]
    texts = [piece * (1_000_000 // len(piece)) for piece in pieces]
    answers = [
        (problem, text) for problem in problems for text in (*texts, *(f"\\boxed{{{text[:15_000]}}}" for text in texts))
    ]
    assert not any(judgement.right for judgement in pool(answers))


def test_a_killed_worker_is_replaced(pool: VerifierPool) -> None:
    assert pool([FINE])[0].right
    for worker in pool._workers:
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
    assert [judgement.right for judgement in pool([FINE] * 5)] == [True] * 5


def test_a_worker_killed_at_work_loses_its_own_answer_only() -> None:
    with VerifierPool(workers=1, timeout_s=60) as pool:
        assert pool([FINE])[0].right
        timer = threading.Timer(1, os.kill, (pool._workers[0]._process.pid, signal.SIGKILL))
        timer.start()
        judged = pool([FINE, (HALF, "9**9**9"), FINE])
    assert [judgement.right for judgement in judged] == [True, None, True]
    assert "died" in judged[1].detail


def test_what_a_dead_worker_had_at_hand_is_judged_by_another() -> None:
    with VerifierPool(workers=2, timeout_s=1) as pool:
        hostile = (HALF, "9**9**9")
        answers = [FINE, hostile, FINE, FINE, hostile, hostile, FINE, (HALF, "\\boxed{\\frac{1}{3}}"), FINE]
        judged = pool(answers)
    assert [judgement.right for judgement in judged] == [True, None, True, True, None, None, True, False, True]


def test_a_worker_that_is_killed_before_it_began_loses_nothing() -> None:
    with VerifierPool(workers=1) as pool:
        timer = threading.Timer(0.1, lambda: os.kill(pool._workers[0]._process.pid, signal.SIGKILL))
        timer.start()
        assert [judgement.right for judgement in pool([FINE] * 3)] == [True] * 3


def test_an_answer_that_needs_too_much_memory_is_unverifiable() -> None:
    with VerifierPool(workers=1, timeout_s=20, memory_mb=256) as pool:
        judged = pool([FINE, (HALF, "\\boxed{2^{2^{40}}}"), FINE])
    assert [judgement.right for judgement in judged] == [True, None, True]


def test_several_threads_may_ask(pool: VerifierPool) -> None:
    judged: dict[int, list[bool | None]] = {}

    def ask(number: int) -> None:
        judged[number] = [
            judgement.right for judgement in pool([FINE, (HALF, f"\\boxed{{\\frac{{1}}{{{number + 3}}}}}")])
        ]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert judged == {number: [True, False] for number in range(4)}


def test_close_ends_the_workers_and_a_later_call_starts_them_again() -> None:
    pool = VerifierPool(workers=1)
    assert pool([FINE])[0].right
    process = pool._workers[0]._process
    pool.close()
    assert process.returncode is not None
    assert pool([FINE])[0].right
    pool.close()


def test_workers_that_cannot_start_are_an_error_and_no_judgement() -> None:
    with VerifierPool(workers=1, memory_mb=20) as pool, pytest.raises(DistillError, match="cannot start"):
        pool([FINE])


def test_works_from_a_script_without_a_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from distill.curate.verify import VerifierPool
            from distill.records import Problem
            with VerifierPool(workers=1) as pool:
                print(pool([(Problem.of("?", "1/2", "math", "t"), "\\\\boxed{0.5}")])[0].right, "torch" in sys.modules)
            """
        )
    )
    root = str(Path(__file__).resolve().parents[2])
    told = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, cwd="/"
    )
    assert told.stdout.split() == ["True", "False"], told.stderr


FILES = {
    "gsm8k_normal_deepseekR1.json": 551,
    "math_normal_deepseekR1.json": 50,
    "gsm8k_normal_DSQ.json": 557,
    "math_normal_DSQ.json": 49,
    "math_normal_s1.1.json": 49,
    "math_normal_Limo.json": 40,
}
"""Finals of real models, and how many of them math-verify by itself calls right."""


@pytest.mark.parametrize("name", FILES)
def test_finals_of_real_models(shared_data: Path, patient: VerifierPool, name: str) -> None:
    answers, alone = [], []
    for row in json.loads((shared_data / "r1_mip_gsm8k_math" / name).read_text(encoding="utf-8")):
        gold = reference_answer(row["answer"])
        text = think.split(row.get("deepseek-reasoner (question)") or row["model_answer"]).answer
        answers.append((Problem.of(row.get("question", text), gold, "math", "test"), text))
        shown = row["answer"].split("####")[-1].strip() if name.startswith("gsm8k") else f"${gold}$"
        alone.append(bool(verify(parse(shown), parse(text))))
    judged = patient(answers)
    right = [judgement.right is True for judgement in judged]
    print(f"{name}: {sum(right)} of {len(judged)} right, math-verify alone {sum(alone)}")
    assert sum(alone) == FILES[name]
    assert right == alone, "every difference needs a reason; see tests/bench/bench_verify.py"
    assert not any(judgement.right is None for judgement in judged if name.startswith("gsm8k"))
