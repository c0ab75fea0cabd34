"""The chain: one small trace for each reason, in the order of the reasons; duplicates and contamination."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill import think
from distill.curate import Index, curate
from distill.curate.compare import judge
from distill.records import Completion, Finish, Judgement, Problem, Sampling, Trace, Verdict
from distill.sections import Curate

NOTHING = Index({}, 13, 10)
GATE = ["What is two plus two?", "A farmer has seven red hens and sells three of them on Monday; how many are left?"]


def trace(reasoning: str = "Two and two.", answer: str = "\\boxed{4}", prompt: str = "2 + 2 = ?", **more: Any) -> Trace:
    finish: Finish = more.get("finish", "stop")
    completion = Completion(reasoning, answer, finish, 5, more.get("tokens"), "r1", more.get("clean", True))
    problem = Problem.of(prompt, more.get("gold", "4"), "math", "test")
    return Trace(f"{problem.id}#{more.get('seed', 0)}", problem, completion, "r1", 0, Sampling(), None, "", 0.0)


def here(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    return [judge(problem, answer) for problem, answer in answers]


def verdicts(traces: list[Trace], index: Index = NOTHING, **section: Any) -> list[Verdict]:
    given = list(curate(iter(traces), Curate(**section), here, index))
    assert [one for one, _ in given] == traces
    return [verdict for _, verdict in given]


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
        (trace(reasoning=""), "format"),
        (trace(clean=False), "format"),
        (trace(answer="</think> \\boxed{4}"), "format"),
        (trace(tokens=101), "too_long"),
        (trace(reasoning="so " * 200), "too_long"),
        (trace(answer="\\boxed{5}"), "wrong_answer"),
        (trace(gold=""), "unverifiable"),
    ],
)  # fmt: skip
def test_each_reason(bad: Trace, reason: str) -> None:
    verdict = verdicts([bad], max_tokens=100)[0]
    assert (verdict.keep, verdict.reason) == (False, reason) and verdict.detail


def test_a_good_trace_is_kept_and_one_that_speaks_of_errors_too() -> None:
    spoken = trace("The error code: 500 is odd.", "The margin of error is 4, so \\boxed{4}")
    assert verdicts([trace(), spoken]) == [Verdict(True), Verdict(True)]


def test_the_first_reason_is_told_and_the_dropped_never_reach_the_verifier() -> None:
    asked: list[str] = []

    def counting(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        asked.extend(answer for _, answer in answers)
        return here(answers)

    given = list(curate([trace(finish="length", answer="\\boxed{5}"), trace()], Curate(), counting, NOTHING))
    assert [verdict.reason for _, verdict in given] == ["unfinished", ""] and asked == ["\\boxed{4}"]


def test_without_verify_wrong_answers_stay() -> None:
    assert verdicts([trace(answer="\\boxed{5}")], verify=False)[0].keep


def test_duplicates_over_chunks_and_a_dropped_one_is_no_first() -> None:
    wrong = trace(answer="\\boxed{5}")
    many = [trace(reasoning=f"Way {at}.", seed=at) for at in range(600)]
    again = trace(reasoning="Way  3.\n", seed=999)
    told = verdicts([wrong, *many, again, wrong, trace("Way 3.", prompt="Other: 2 + 2 = ?")])
    assert told[-3].reason == "duplicate" and told[-3].detail.endswith("#3")
    assert told[-2].reason == "wrong_answer" and told[-1].keep
    assert sum(verdict.keep for verdict in told) == 601


def test_the_same_trace_object_twice_is_a_duplicate() -> None:
    one = trace()
    assert [verdict.reason for verdict in verdicts([one, one])] == ["", "duplicate"]


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("what is  TWO plus two", True),  # shorter than an n-gram: whole
        ("What is two plus two, and what is that times nine?", False),  # five words are too few to be looked for
        ("Say: a farmer has seven red hens and sells three of them on Monday; why?", True),
        ("A farmer has seven red hens and sells two of them.", False),
        ("What is two plus three?", False),
    ],
)
def test_contamination(prompt: str, found: bool) -> None:
    verdict = verdicts([trace(prompt=prompt)], Index({"gate": GATE}, 13, 10))[0]
    assert (verdict.reason == "contaminated") is found
    assert verdict.detail.startswith("gate: ") is found


def test_a_short_prompt_is_found_inside_a_longer_one_from_six_words_on() -> None:
    index = Index({"gate": ["How many primes are below ninety?"]}, 13, 10)
    assert index.find("Answer quickly. How many primes are below ninety? Explain.")
    assert not index.find("How many primes are below eighty?")


def test_what_stands_in_many_prompts_of_one_task_is_its_template() -> None:
    template = "On an island every person is either a knight who tells the truth or a knave who lies always"
    prompts = [f"{template}. {name} speaks." for name in "Ann Bob Cem Dora Eve Finn Gus Hal Ida Jo".split()]
    fresh = f"{template}. Zoe says nothing at all."
    assert Index({"knights": prompts[:9]}, 13, 10).find(fresh)
    index = Index({"knights": prompts}, 13, 10)
    assert index.find(fresh) is None
    assert index.find(f"Well: {prompts[4].upper()}")  # no n-gram but template: still found whole
    assert Index({"a": prompts[:5], "b": prompts[5:]}, 13, 10).find(fresh)  # five in each task are no template


def test_r1s_error_row_is_an_api_error(shared_data: Path) -> None:
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    thoughts = [think.split(row["deepseek-reasoner (question)"]) for row in rows]
    traces = [trace(one.reasoning, one.answer, clean=one.clean) for one in thoughts]
    reasons = [verdict.reason for verdict in verdicts(traces, verify=False)]
    assert reasons[66] == "api_error" and reasons.count("api_error") == 1


def test_a_template_with_other_names_in_it_is_a_template() -> None:
    names = "Ann Bob Cem Dora Eve Finn Gus Hal Ida Jo Kim Lea".split()
    text = "On the island {} is a knight who always tells the truth and {} is a knave who always lies to {}"
    prompts = [text.format(a, b, c) for a in names for b in names for c in names[:5] if len({a, b, c}) == 3]
    index = Index({"knights": prompts[::2]}, 13, 10)
    assert index.find(text.format("Lea", "Kim", "Ann")) is None or text.format("Lea", "Kim", "Ann") in prompts[::2]
    assert sum(index.find(prompt) is not None for prompt in prompts[1::2]) < 0.05 * len(prompts)
    assert all(index.find(prompt) for prompt in prompts[::2])
