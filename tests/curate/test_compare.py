"""What is right and what is wrong, by kind of answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from distill import procedural
from distill.curate.compare import judge, quick
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
        ("540", "\\boxed{-540}", False),
        ("540", "\\boxed{540.01}", False),
        ("540", "<answer>540</answer>", True),
        ("540", "<answer>541</answer>", False),
        ("1,22", "\\boxed{1.22}", True),
        ("12.5", "\\boxed{12,5}", True),
        ("1000", "\\boxed{1\\,000}", True),
        ("105", "\\boxed{10 5}", False),
        ("540", "\\boxed{540 \\text{ is wrong, it is 541}}", True),  # as math-verify: what \text{} holds is a unit
        ("0.5", "\\boxed{0.5\\%}", False),
        ("12.5", "\\boxed{12.5\\%}", True),
        ("5", "\\boxed{5 million}", False),
        ("5000000", "\\boxed{5 \\text{ million}}", False),
        ("540", "\\boxed{540 lollipops}", True),
        ("6 - 5i", "\\boxed{6-5i}", True),
        ("\\frac14", "\\boxed{\\dfrac{1}{4}}", True),
        ("x^2+1", "\\boxed{1 + x^2}", True),
        ("x = 5", "\\boxed{5}", True),
        ("(1, 2)", "\\boxed{(2, 1)}", False),
    ],
)
def test_math(gold: str, answer: str, expected: bool | None) -> None:
    assert right("math", gold, answer) is expected


# What more of options, words and knights there is stands in test_options.py, test_words.py and test_knights.py.
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


@pytest.mark.parametrize(
    ("gold", "answer", "expected", "detail"),
    [
        ("540", "First \\boxed{3}. Then \\boxed{540}", True, "two different boxes, the last one counts"),
        ("3", "First \\boxed{3}. Then \\boxed{540}", False, "two different boxes, the last one counts"),
        ("540", "\\boxed{540}. In all: \\boxed{540.}", True, ""),
        ("5", "\\boxed{5} or \\boxed{6}", False, ""),
        ("6", "\\boxed{5} or \\boxed{6}", False, ""),
        ("6", "$\\boxed{5}$, $\\boxed{6}$", False, ""),
        ("5,6", "\\boxed{5} or \\boxed{6}", True, ""),
        ("5,6", "One root is \\boxed{5}. The other root is \\boxed{6}.", True, ""),
        ("\\frac{1}{2}", "$\\boxed{\\frac12}$ or $\\boxed{0.5}$", True, ""),
        ("10455", "So \\boxed{200}. The final answer is $10,455$. I hope it is correct.", True, ""),
        ("200", "So \\boxed{200}. The final answer is $10,455$. I hope it is correct.", False, ""),
        ("200", "So \\boxed{200}. The final answer is in the box.", True, ""),
    ],
)
def test_boxes_that_differ(gold: str, answer: str, expected: bool, detail: str) -> None:
    judgement = judge(Problem.of("?", gold, "math", "test"), answer)
    assert judgement.right is expected and detail in judgement.detail


@pytest.mark.parametrize("kind", ["math", "choice", "text", "rule"])
def test_the_reasoning_never_counts_and_an_unfinished_trace_gets_no_credit(kind: AnswerKind) -> None:
    gold, wrong = {"choice": ("B", "A"), "text": ("Yes", "No")}.get(kind, ("5", "6"))
    problem = Problem.of("?", gold, kind, "test", rule="lineage")
    assert judge(problem, f"<think>\\boxed{{{wrong}}}</think> \\boxed{{{gold}}}").right is True
    assert judge(problem, f"<think>\\boxed{{{gold}}}</think> \\boxed{{{wrong}}}").right is False
    for unfinished in (
        f"<think>\\boxed{{{gold}}}",
        f"\\boxed{{{gold}}} <think> or",
        f"<think>a</think><think>\\boxed{{{gold}}}",
        f"\\boxed{{{gold}}}</think>",
    ):
        assert judge(problem, unfinished).right is False


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("\\boxed{\\frac{1}{2}", "never closes"),
        ("\\boxed{540} or \\boxed{54", "never closes"),
        ("$\\frac{1}{2$", "braces"),
        ("\\boxed{\\left(540}", "\\left"),
        ("\\boxed{((540)}", "brackets"),
        ("\\boxed{\\begin{pmatrix}540}", "\\begin"),
        ("\\boxed{" + "{" * 10_000 + "}" * 10_000 + "}", "too long"),
        ("\\boxed{" + "{" * 100 + "1" + "}" * 100 + "}", "nested 100 deep"),
        ("{" * 10_000, "nested 10,000 deep"),
        ("7" * 5_000, "digits"),
        ("\\boxed{" + "1+" * 700 + "1}", "too long"),
        ("\\boxed{" + "-" * 900 + "1}", "RecursionError"),
    ],
)
def test_what_cannot_be_read_is_neither_right_nor_wrong(answer: str, why: str) -> None:
    judgement = judge(Problem.of("?", "\\frac{1}{2}", "math", "test"), answer)
    assert judgement.right is None and why in judgement.detail


@pytest.mark.parametrize(
    ("settings", "answer", "expected"),
    [
        ({"strict": False}, "$f(y)$", True),
        ({"strict": True}, "$f(y)$", False),
        ({"match_types": ["latex"]}, "$f(x)$", True),
        ({"precision": 2, "allow_set_relation_comp": False}, "$f(x)$", True),
        ({"match_types": ["words"]}, "$f(x)$", None),
        ({"match_types": []}, "$f(x)$", None),
        ({"precision": True}, "$f(x)$", None),
        ({"precision": -1}, "$f(x)$", None),
        ({"stric": True}, "$f(x)$", None),
        (["strict"], "$f(x)$", None),
    ],
)
def test_a_problem_may_set_math_verify(settings: Any, answer: str, expected: bool | None) -> None:
    judgement = judge(Problem.of("?", "$f(x)$", "math", "test", math_verify=settings), answer)
    assert judgement.right is expected
    assert expected is not None or "math_verify" in judgement.detail


def test_a_setting_keeps_strings_from_deciding() -> None:
    assert right("math", "0.33", "\\boxed{0.333}", math_verify={"precision": 2}) is True
    assert right("math", "0.33", "\\boxed{0.333}") is False


def test_plain_numbers_need_no_worker() -> None:
    problem = Problem.of("?", "540", "math", "test")
    assert quick(problem, "\\boxed{540.0}") == quick(problem, "540")
    assert quick(problem, "\\boxed{541}") is not None
    assert quick(problem, "\\boxed{9**9**9}") is None


def stated(case: dict[str, Any]) -> dict[str, Any]:
    """The settings that a case of math-verify's own tests states, as a problem's meta."""
    keys = ("precision", "strict", "allow_set_relation_comp")
    settings = {**case.get("fixed_args", {}), **{key: case[key] for key in keys if key in case}}
    return {"math_verify": settings} if settings else {}


def test_all_of_math_verifys_own_cases_agree(shared_data: Path) -> None:
    lines = (shared_data / "answer_verify" / "math_verify_cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    agree = [(right("math", c["gold"], c["pred"], **stated(c)) is True) == bool(c["expected"]) for c in cases]
    bare = sum((right("math", c["gold"], c["pred"]) is True) == bool(c["expected"]) for c in cases)
    print(f"math-verify's own cases: {sum(agree)} of {len(cases)} agree, {bare} without the settings that they state")
    assert all(agree) and len(agree) == 268 and bare >= 262
