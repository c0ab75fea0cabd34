"""What is right and what is wrong, by kind of answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill import procedural
from distill.curate.compare import judge, quick
from distill.curate.decontaminate import Index
from distill.records import AnswerKind, Problem

QUESTION = "When?\nOptions:\n(A) 6pm to 9pm\n(B) 7am to 11am"


def right(kind: AnswerKind, gold: str, answer: str, **meta: Any) -> bool | None:
    return judge(Problem.of(QUESTION, gold, kind, "test", **meta), answer).right


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("540", "So \\boxed{540}.", True),
        ("540", "So \\boxed{541}.", False),
        ("1000", "\\boxed{\\$1{,}000}", True),
        ("1000", "\\boxed{1,000 \\text{ dollars}}", True),
        ("10", "\\boxed{10\\%}", True),
        ("540", "First \\boxed{3}, then \\boxed{540}", True),
        ("3", "First \\boxed{3}, then \\boxed{540}", False),
        ("1,2", "\\boxed{1} and \\boxed{2}", True),
        ("1,3", "\\boxed{1} and \\boxed{2}", False),
        ("540", "We get 3 and then the answer is 540.", True),
        ("540", "We get 540 and then the answer is 3.", False),
        ("\\frac{1}{2}", "\\boxed{0.5}", True),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", "\\boxed{(3, \\pi/2)}", True),
        ("\\text{Evelyn}", "\\boxed{Evelyn}", True),
        ("540", "", False),
        ("540", "  \n", False),
        ("540", "I do not know", False),
        ("540", "\\boxed{}", False),
        ("", "\\boxed{1}", None),
        ("1", "9" * 20_001, None),
        ("1", "\\boxed{" + "9" * 20_001 + "}", None),
    ],
)
def test_math(gold: str, answer: str, expected: bool | None) -> None:
    assert right("math", gold, answer) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("\\boxed{B}", True),
        ("\\boxed{(B)}", True),
        ("\\boxed{\\text{(b)}}", True),
        ("\\boxed{\\textbf{B. 7am to 11am}}", True),
        ("\\boxed{7am to 11am}", True),
        ("\\boxed{A}", False),
        ("\\boxed{6pm to 9pm}", False),
        ("\\boxed{noon}", False),
        ("The answer is (B), not (A).", True),
        ("(A) is out, so it is (B)", True),
        ("The answer is a mystery", False),
        ("B", True),
    ],
)
def test_choice(answer: str, expected: bool) -> None:
    assert right("choice", "(B)", answer) is expected


def test_choice_whose_reference_is_no_letter_cannot_be_told() -> None:
    assert right("choice", "noon", "\\boxed{B}") is None


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("valid", "\\boxed{\\text{Valid}}", True),
        ("valid", "\\boxed{invalid}", False),
        ("True", "So the answer is **true**.", True),
        ("Yes", "Thinking.\nYes.", True),
        ("No", "\\boxed{\\text{Yes}}", False),
        ("syndrome therefrom", '\\boxed{"syndrome   therefrom"}', True),
        ("] ] >", "\\boxed{]]>}", True),
        ("} ]", "\\boxed{\\} ]}", True),
        ("] ] >", "\\boxed{] > ]}", False),
    ],
)
def test_text(gold: str, answer: str, expected: bool) -> None:
    assert right("text", gold, answer) is expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("\\boxed{\\text{Zoey is a knave, and Ethan is a knight.}}", True),
        ("(1) Zoey is a knave\n(2) Ethan is a knight", True),
        ("If Zoey is a knight, then no. So **Zoey**: knave, **Ethan**: knight.", True),
        ("\\boxed{\\text{Zoey} = \\text{knave}, \\text{Ethan} = \\text{knight}}", True),
        ("Zoey is not a knight. Ethan is a knight.", True),
        ("Zoey is a knave, Ethan is a knave", False),
        ("Zoey is a knave", False),
        ("Zoey is a knave, Ethan is a knight. \\boxed{\\text{Zoey is a knight, Ethan is a knave}}", False),
    ],
)
def test_knights_and_knaves(answer: str, expected: bool) -> None:
    solution = {"Zoey": False, "Ethan": True}
    assert right("rule", "", answer, rule="knights_knaves", solution=solution) is expected


def test_a_rule_without_its_meta_cannot_be_told_and_never_raises() -> None:
    assert right("rule", "", "\\boxed{1}", rule="knights_knaves") is None
    assert right("rule", "", "\\boxed{1}", rule="no such rule") is None
    assert right("rule", "", "\\boxed{1}", rule="reasoning_gym", family="no_such", seed=1, config={}) is None


def test_the_scorer_of_reasoning_gym_gives_no_partial_credit() -> None:
    drawn = procedural.generate("knights_knaves", 50, 7, {})
    problem = next(one for one in drawn if "knight" in one.answer and "knave" in one.answer)
    assert judge(problem, f"\\boxed{{\\text{{{problem.answer}}}}}").right is True
    assert judge(problem, problem.answer).right is True
    assert judge(problem, f"So:\n{problem.answer}").right is True
    flipped = problem.answer.replace("knight", "K").replace("knave", "knight").replace("K", "knave")
    assert judge(problem, f"\\boxed{{{flipped}}}").right is False


def test_plain_numbers_need_no_worker() -> None:
    problem = Problem.of("?", "540", "math", "test")
    assert quick(problem, "\\boxed{540.0}") == quick(problem, "540")
    assert quick(problem, "\\boxed{541}") is not None
    assert quick(problem, "\\boxed{9**9**9}") is None


def test_most_of_math_verifys_own_cases_agree(shared_data: Path) -> None:
    lines = (shared_data / "answer_verify" / "math_verify_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    agree = sum((right("math", c["gold"], c["pred"]) is True) == bool(c["expected"]) for c in cases)
    print(f"math-verify's own cases: {agree} of {len(cases)} agree")
    assert agree >= 0.92 * len(cases)


def test_gsm8k_decontamination(shared_data: Path) -> None:
    def questions(name: str) -> list[str]:
        lines = (shared_data / "gsm8k" / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["question"] for line in lines]

    index = Index({"distill_gsm8k": questions("test.jsonl")}, 13, 10)
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert all(index.find(row["question"]) for row in rows)
    train = questions("train.jsonl")
    flagged = sum(index.find(question) is not None for question in train)
    print(f"GSM8K train prompts flagged against test: {flagged} of {len(train)}")
    assert flagged < 0.005 * len(train)
