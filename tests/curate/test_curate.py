"""The chain: one small trace for each reason, in the order of the reasons; and duplicates."""

import importlib.util
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill import think
from distill.records import Judgement, Problem, Trace, Verdict

_spec = importlib.util.spec_from_file_location("curate_stages", Path(__file__).with_name("stages.py"))
assert _spec is not None and _spec.loader is not None
stages = importlib.util.module_from_spec(_spec)
sys.modules["curate_stages"] = stages  # dataclasses look their module up
_spec.loader.exec_module(stages)
here, trace = stages.here, stages.trace

NEAR_ASIDE = {"duplicates": {"near_problems": None, "near_reasoning": None}}


def verdicts(traces: list[Trace], **section: Any) -> list[Verdict]:
    with tempfile.TemporaryDirectory() as folder:
        found: list[Verdict] = stages.run(Path(folder), traces, **section).verdicts(traces)
    return found


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (trace(finish="length"), "unfinished"),
        (trace(answer=""), "unfinished"),
        (trace(reasoning="", answer=" "), "no_answer"),
        (trace("", "Error after 6 attempts: Error code: 500 - {'message': 'Internal Server Error'}"), "api_error"),
        (trace("", "<html><head><title>502 Bad Gateway</title></head></html>"), "api_error"),
        (trace("", '{"error": {"message": "Rate limit reached", "code": 429}}'), "api_error"),
        (trace("Hm.", "Error code: 503"), "api_error"),
        (trace(reasoning=""), "no_reasoning"),
        (trace(clean=False), "broken_tags"),
        (trace(answer="</think> \\boxed{4}"), "broken_tags"),
        (trace(reasoning=" ".join(map(str, range(1000, 1200)))), "too_long"),
        (trace(reasoning="so " * 200), "repetition"),
        (trace(answer="\\boxed{5}"), "wrong_answer"),
        (trace(gold=""), "unverifiable"),
    ],
)  # fmt: skip
def test_each_reason(bad: Trace, reason: str) -> None:
    verdict = verdicts([bad], max_tokens=100)[0]
    assert (verdict.keep, verdict.reason) == (False, reason) and verdict.detail


def test_a_good_trace_is_kept_and_one_that_speaks_of_errors_too() -> None:
    spoken = trace("The error code: 500 is odd.", "The margin of error is 4, so \\boxed{4}", seed=1)
    assert verdicts([trace(), spoken], **NEAR_ASIDE) == [Verdict(True), Verdict(True)]


def test_the_first_reason_is_told_and_the_dropped_never_reach_the_verifier() -> None:
    asked: list[str] = []

    def counting(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        asked.extend(answer for _, answer in answers)
        return here(answers)

    given = verdicts([trace(finish="length", answer="\\boxed{5}"), trace(seed=1)], verifier=counting)
    assert [verdict.reason for verdict in given] == ["unfinished", ""] and asked == ["\\boxed{4}"]


def test_without_verify_wrong_answers_stay() -> None:
    assert verdicts([trace(answer="\\boxed{5}")], verify=False)[0].keep


def test_duplicates_over_chunks_and_a_dropped_one_is_no_first() -> None:
    wrong = trace(answer="\\boxed{5}", seed=1000)
    many = [trace(reasoning=f"Way {at}.", seed=at) for at in range(600)]
    again = trace(reasoning="Way  3.\n", seed=999)
    told = verdicts([wrong, *many, again, wrong, trace("Way 3.", prompt="Other: 2 + 2 = ?")], **NEAR_ASIDE)
    assert told[-3].reason == "duplicate" and told[-3].detail.endswith("#3")
    assert told[-2].reason == "wrong_answer" and told[-1].keep
    assert sum(verdict.keep for verdict in told) == 601


def test_the_same_trace_object_twice_is_a_duplicate() -> None:
    one = trace()
    assert [verdict.reason for verdict in verdicts([one, one])] == ["", "duplicate"]


def test_r1s_error_row_is_an_api_error(shared_data: Path) -> None:
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    thoughts = [think.split(row["deepseek-reasoner (question)"]) for row in rows]
    traces = [trace(one.reasoning, one.answer, clean=one.clean, seed=at) for at, one in enumerate(thoughts)]
    reasons = [verdict.reason for verdict in verdicts(traces, verify=False)]
    assert reasons[66] == "api_error" and reasons.count("api_error") == 1
