"""Options: every way to name one, and what names none."""

import csv
import json
from pathlib import Path

import pytest

from distill import think
from distill.curate.compare import quick
from distill.records import Problem

LETTERS = "When?\nOptions:\n(A) 6pm to 9pm\n(B) 7am to 11am\n(C) 1pm to 2pm\n(D) 3pm to 4pm"
NUMBERS = "Pick:\n1. red\n2. green\n3. blue"
ONE_LINE = "How many?\n$\\textbf{(A)}\\ 5 \\qquad \\textbf{(B)}\\ 6 \\qquad\\textbf{(C)}\\ 7$"


def right(prompt: str, gold: str, answer: str) -> bool | None:
    judgement = quick(Problem.of(prompt, gold, "choice", "test"), answer)
    assert judgement is not None
    return judgement.right


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("(C)", "A good answer is (C)", True),
        ("(A)", "A good answer is (C)", False),
        ("(B)", "The answer is B.", True),
        ("(B)", "The answer is B", True),
        ("(B)", "the correct option is **(B)**.", True),
        ("(B)", "**Answer: B**", True),
        ("(B)", "Answer: (B) 7am to 11am", True),
        ("(B)", "B) 7am to 11am", True),
        ("(B)", "\\boxed{B) 7am to 11am}", True),
        ("(B)", "\\boxed{B) 6pm to 9pm}", False),
        ("(A)", "\\boxed{B) 6pm to 9pm}", False),
        ("(B)", "\\boxed{b}", True),
        ("(B)", "\\boxed{(b)}", True),
        ("(B)", "\\boxed{\\text{Option B}}", True),
        ("(B)", "\\boxed{\\text{The answer is (B)}}", True),
        ("(B)", "\\boxed{A, B}", False),
        ("(B)", "\\boxed{A \\text{ or } B}", False),
        ("(A)", "\\boxed{A \\text{ or } B}", False),
        ("(A)", "\\boxed{A} or \\boxed{B}", False),
        ("(B)", "\\boxed{A} or \\boxed{B}", False),
        ("(B)", "Maybe \\boxed{A}. Wait, no: the final is \\boxed{B}", True),
        ("(B)", "(A) is wrong. (C) is wrong. (B) is correct.", True),
        ("(C)", "(A) is wrong. (C) is wrong. (B) is correct.", False),
        ("(B)", "(A) and (B) are both possible.", False),
        ("(A)", "(A) and (B) are both possible.", False),
        ("(B)", "The answer is either (A) or (B).", False),
        ("(A)", "The answer is either (A) or (B).", False),
        ("(B)", "The answer is (A) or (B).", False),
        ("(A)", "The answer is (A) or (B).", False),
        ("(B)", "The answer is not (A). The answer is (B).", True),
        ("(A)", "The answer is not (A).", False),
        ("(A)", "The answer isn't (A).", False),
        ("(B)", "I think it must be B because A is too early.", True),
        ("(B)", "So it is B.", True),
        ("(B)", "Therefore, B", True),
        ("(B)", "Thus the answer is option B.", True),
        ("(B)", "The answer is option (B), since A is wrong.", True),
        ("(A)", "The answer is A because it fits.", True),
        ("(A)", "The answer is a mystery", False),
        ("(A)", "I don't know.", False),
        ("(I)", "I think so", False),
        ("(B)", "7am to 11am", True),
        ("(B)", "The answer is 7am to 11am.", True),
        ("(B)", "So the answer is **7am to 11am**.", True),
        ("(B)", "\\boxed{\\text{7am to 11am}}", True),
        ("(B)", "B", True),
        ("(B)", "b", True),
        ("(B)", "(b).", True),
        ("(B)", "B.", True),
        ("(B)", "**B**\n\nBecause (A) is out and (C) is out.", True),
        ("(A)", "**B**\n\nBecause (A) is out and (C) is out.", False),
        ("B", "\\boxed{(B)}", True),
        ("b", "\\boxed{(B)}", True),
        ("7am to 11am", "\\boxed{B}", True),
        ("(B) 7am to 11am", "\\boxed{B}", True),
        ("(B)", "### Answer\n\n(B)", True),
        ("(B)", "Final answer: $\\boxed{\\textbf{(B)}}$", True),
        ("(B)", "\\boxed{\\textbf{(B) }7am to 11am}", True),
        ("(B)", "The correct answer is (B). Option (A) would be wrong.", True),
        ("(B)", "We choose B.", True),
        ("(B)", "This leaves only (B).", True),
        ("(B)", "Option B is correct.", True),
        ("(B)", "Options A and C are incorrect, so B is the answer.", True),
        ("(B)", "Answer - B", True),
        ("(B)", "The answer is: B", True),
        ("(B)", 'The answer is "B".', True),
        ("(B)", "(B) is not correct. (A) is not correct either. Hence (C).", False),
        ("(C)", "(B) is not correct. (A) is not correct either. Hence (C).", True),
        ("(B)", "Comparing (A) and (B): (A) is too early.\n\nAnswer: (B)", True),
        ("(A)", "As A says, the time is 7am. Answer: B", False),
        ("(B)", "answer:B", True),
        ("(B)", "<answer>B</answer>", True),
        ("(B)", "<answer>(B)</answer>", True),
        ("(Z)", "\\boxed{Z}", True),
        ("(B)", "\\boxed{B, because A is wrong}", True),
        ("(B)", "\\boxed{AB}", False),
        ("(A)", "\\boxed{AB}", False),
        ("(B)", "\\boxed{\\mathrm{B}}", True),
        ("(B)", "\\boxed{\\mathbf{(B)}}", True),
        ("(B)", "\\boxed{\\text{(B) 7am to 11am}}", True),
        ("(B)", "\\boxed{[B]}", True),
        ("(A)", "The answer is a.", True),
        ("(B)", "Both A and B seem right but the answer is B", True),
        ("(B)", "Correct: B", True),
        ("(B)", "The best choice would be (B).", True),
        ("(B)", "Answer is (B)", True),
        ("(B)", "ANSWER: B", True),
        ("(B)", "Answer: B is the time he could go.", True),
        ("(B)", "Hence the answer (B).", True),
        ("(B)", "(B)\n", True),
        ("(B)", "The answer is (B) and not (A).", True),
        ("(A)", "The answer is (B) and not (A).", False),
        ("(B)", "So the final answer is (B) 7am to 11am.", True),
        ("(A)", "Answer: A", True),
        ("(A)", "Answer: A.", True),
        ("(A)", "Answer: A\n\nA man could go then.", True),
        ("(A)", "A", True),
        ("(A)", "The answer is A, as shown.", True),
        ("(A)", "A. 6pm to 9pm", True),
        ("(D)", "None of A, B or C fits. So D.", True),
    ],
)
def test_letters(gold: str, answer: str, expected: bool) -> None:
    assert right(LETTERS, gold, answer) is expected


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("3", "\\boxed{3}", True),
        ("3", "(3)", True),
        ("(3)", "\\boxed{3. blue}", True),
        ("3", "The answer is option 3.", True),
        ("3", "\\boxed{blue}", True),
        ("3", "The correct answer is 2.", False),
        ("3", "3) blue", True),
        ("3", "\\boxed{\\text{Option 3}}", True),
        ("3", "\\boxed{13}", False),
        ("3", "\\boxed{3.5}", False),
        ("2", "1 is wrong, 3 is wrong, so the answer is 2.", True),
        ("3", "\\boxed{2} and \\boxed{3}", False),
        ("3", "\\boxed{2, 3}", False),
    ],
)
def test_numbers(gold: str, answer: str, expected: bool) -> None:
    assert right(NUMBERS, gold, answer) is expected


@pytest.mark.parametrize(
    ("gold", "answer", "expected"),
    [
        ("B", "\\boxed{6}", True),
        ("(B)", "\\boxed{\\textbf{(B)}\\ 6}", True),
        ("6", "\\boxed{B}", True),
        ("6", "\\boxed{6}", True),
        ("B", "\\boxed{5}", False),
        ("B", "\\boxed{\\text{(A) } 6}", False),
    ],
)
def test_options_on_one_line(gold: str, answer: str, expected: bool) -> None:
    assert right(ONE_LINE, gold, answer) is expected


def lineage(quiz: str, gold: str, answer: str) -> bool | None:
    judgement = quick(Problem.of(quiz, gold, "rule", "lineage", rule="lineage"), answer)
    assert judgement is not None
    return judgement.right


def test_lineage_by_hand() -> None:
    quiz = "How?\n1. Ann and Bob share a common ancestor.\n2. Ann is Bob's ancestor.\n3. Ann is Bob's descendant."
    for answer in (
        "<ANSWER>2</ANSWER>",
        "3 is out.\n**<ANSWER> 2 </ANSWER>**",
        "\\boxed{2}",
        "ANSWER: 2",
        "\\boxed{\\text{Ann is Bob's ancestor}}",
        "<answer>2. Ann is Bob's ancestor.</answer>",
        "So Ann is Bob's ancestor.",
        "The correct answer is option 2.",
        "\\boxed{3} <ANSWER>2</ANSWER>",
    ):
        assert lineage(quiz, "2", answer) is True, answer
    for answer in ("<ANSWER>3</ANSWER>", "<ANSWER></ANSWER>", "<ANSWER>2, 3</ANSWER>", "Ann is Bob's aunt.", "12", ""):
        assert lineage(quiz, "2", answer) is False, answer
    assert lineage(quiz, "Ann", "<ANSWER>2</ANSWER>") is None


def test_r1s_finals_on_lineage(shared_data: Path) -> None:
    folder = shared_data / "r1_lineage_logic"

    def rows(name: str) -> list[list[str]]:
        with (folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    counts = {}
    for name in ("deepseek-r1_8.csv", "deepseek-r1-0528_8.csv", "deepseek-r1-0528_64.csv"):
        judged = [lineage(row[3], row[2], row[-1]) for row in rows(name)]
        counts[name] = (judged.count(True), len(judged))
    for size in (8, 64):
        gold = {row[3]: row[2] for row in rows(f"deepseek-r1-0528_{size}.csv")}
        judged = []
        for line in (folder / f"r1_0528_lineage{size}_api_pairs.jsonl").read_text(encoding="utf-8").splitlines():
            pair = json.loads(line)
            quiz = pair["request"]["messages"][-1]["content"]
            answer = think.read_message(pair["response"]["choices"][0]["message"]).answer
            judged.append(lineage(quiz, gold[quiz], answer))
        counts[f"r1_0528_lineage{size}"] = (judged.count(True), len(judged))
    print(counts)
    assert list(counts.values()) == [(193, 200), (40, 40), (39, 40), (40, 40), (39, 40)]
