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


def test_a_killed_worker_is_replaced(pool: VerifierPool) -> None:
    assert pool([FINE])[0].right
    for worker in pool._workers:
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
    assert [judgement.right for judgement in pool([FINE] * 5)] == [True] * 5


def test_time_out_names_the_time(pool: VerifierPool) -> None:
    judgement = pool([(HALF, "9**9**9")])[0]
    assert judgement.right is None and judgement.detail == "took longer than 2 s"


def test_a_worker_killed_at_work_loses_its_own_answer_only() -> None:
    with VerifierPool(workers=1, timeout_s=60) as pool:
        assert pool([FINE])[0].right
        timer = threading.Timer(1, os.kill, (pool._workers[0]._process.pid, signal.SIGKILL))
        timer.start()
        judged = pool([FINE, (HALF, "9**9**9"), FINE])
    assert [judgement.right for judgement in judged] == [True, None, True]
    assert "died" in judged[1].detail


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


def test_r1s_finals_on_gsm8k(shared_data: Path) -> None:
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    answers = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        problem = Problem.of(row["question"], reference_answer(row["answer"]), "math", "gsm8k")
        answers.append((problem, think.split(row["deepseek-reasoner (question)"]).answer))
    with VerifierPool(workers=2) as pool:
        judged = pool(answers)
    right = sum(judgement.right is True for judgement in judged)
    print(f"R1's finals on GSM8K: {right} of {len(judged)} right")
    assert 548 <= right <= 554 and not any(judgement.right is None for judgement in judged)
