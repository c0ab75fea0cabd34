"""GPQA diamond, MMLU-Pro and LogiQA 2.0: rows in, `Problem`s of kind choice out, answered with an option's letter."""

import hashlib
import re
from collections.abc import Iterator
from string import ascii_uppercase

from distill.errors import InputError
from distill.records import Problem
from distill.tables import Row
from evals.readers.rows import column, filled, listed, prompt, rows_of, words

ASK = "Answer with the letter of the one option that is right."
"""Said after the options, so that `\\boxed{}` holds a letter; OpenAI's simple-evals, which R1 was measured with, asks
for a letter, too."""

MAX_OPTIONS = 10
"""MMLU-Pro's. No benchmark here has more."""

LOGIC_SUBJECTS = ("philosophy", "law", "computer science")
"""MMLU-Pro's subjects that are logic more than calculation or recall. Philosophy holds MMLU's formal logic and logical
fallacies; law is cases, to which stated rules are applied; computer science is Boolean algebra and programs traced by
hand. Mathematics is left out, which has tasks of its own; physics, chemistry, engineering, economics and business,
which are calculated; and the rest, which is known or not."""

_QUESTIONS = ("question", "Question", "problem", "Problem")
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


def gpqa_diamond(path: str | None) -> Iterator[Problem]:
    """The options stand in the order of a hash of the question and their own text: it is the same in every run, on
    every machine, for every order of the rows, and says nothing of which one is right."""
    for place, row in rows_of("distill_gpqa_diamond", path, "gpqa_diamond", "train"):
        question = prompt(row, _QUESTIONS, place)
        if "Correct Answer" in row:
            options = [words(filled(row, (name,), place), name, place) for name in ("Correct Answer", *_WRONG)]
            right = options[0]
        else:
            options, at = _options(row, place)
            right = options[at]
        if options.count(right) > 1:
            raise InputError(f"{place}: the right option stands there twice: {right[:60]!r}")
        ordered = sorted(options, key=lambda option: _digest(question, option))
        yield _problem(question, ordered, ordered.index(right), "gpqa_diamond")


def mmlu_pro_logic(path: str | None) -> Iterator[Problem]:
    """The rows of `LOGIC_SUBJECTS`; raises InputError where a file has none. A file without subjects counts whole."""
    others: set[str] = set()
    found = False
    for place, row in rows_of("distill_mmlu_pro_logic", path, "mmlu_pro", "mmlu_pro_logic"):
        subject = ""
        if named := [name for name in ("category", "subject") if name in row]:
            subject = filled(row, named, place).casefold().replace("_", " ")
            if subject not in LOGIC_SUBJECTS:
                others.add(subject)
                continue
        found = True
        options, right = _options(row, place)
        source = f"mmlu_pro/{subject.replace(' ', '_')}" if subject else "mmlu_pro"
        yield _problem(prompt(row, _QUESTIONS, place), options, right, source)
    if others and not found:
        raise InputError(
            f"{path or 'TIGER-Lab/MMLU-Pro'}: no row is of {', '.join(LOGIC_SUBJECTS)}; its subjects are "
            f"{', '.join(sorted(others)[:20])}"
        )


def logiqa2(path: str | None) -> Iterator[Problem]:
    """A text, a question about it and four options; or `content` and `ideal`, as the Hub's logieval has them."""
    for place, row in rows_of("distill_logiqa2", path, "logiqa2"):
        if "content" in row and "ideal" in row:
            letter = filled(row, ("ideal",), place)
            if not re.fullmatch(r"[A-Da-d]", letter):
                raise InputError(f"{place}: the column 'ideal' is {letter[:20]!r}, and it must be a letter from A to D")
            asked = f"{prompt(row, ('content',), place)}\n\n{ASK}"
            yield Problem.of(asked, f"({letter.upper()})", "choice", "logiqa2")
            continue
        text = prompt(row, ("text", "context", "passage"), place)
        options, right = _options(row, place)
        yield _problem(f"{text}\n\n{prompt(row, _QUESTIONS, place)}", options, right, "logiqa2")


def _problem(question: str, options: list[str], right: int, source: str) -> Problem:
    lines = [f"({letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    asked = "\n".join([f"{question}\n", *lines, f"\n{ASK}"])
    return Problem.of(asked, f"({ascii_uppercase[right]})", "choice", source)


def _digest(question: str, option: str) -> bytes:
    return hashlib.sha256("\n".join([" ".join(question.split()), option]).encode()).digest()


def _options(row: Row, place: str) -> tuple[list[str], int]:
    """The options, a list in one column or columns A, B, …, and which of them is right."""
    if "A" in row and "B" in row:
        letters = [letter for letter in ascii_uppercase[:MAX_OPTIONS] if row.get(letter) not in (None, "")]
        if letters != list(ascii_uppercase[: len(letters)]):
            raise InputError(f"{place}: the options {', '.join(letters)} leave a letter out; fill them without a gap")
        options = [words(row[letter], letter, place) for letter in letters]
    else:
        name = column(row, ("options", "choices"), place)
        options = [words(option, name, place) for option in listed(row, (name,), place)]
        while options and options[-1] == "N/A":  # MMLU-Pro's first edition fills its lists up so
            options.pop()
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise InputError(f"{place}: there are {len(options)} options, and there must be 2 to {MAX_OPTIONS}")
    return options, _right(row, len(options), place)


def _right(row: Row, count: int, place: str) -> int:
    """Which option is right: a letter, or a number that counts from 0."""
    name = column(row, ("answer", "answer_index", "label", "expected_answer"), place)
    stated = filled(row, (name,), place)
    match = re.fullmatch(r"\(?([A-Za-z])\)?|(\d{1,2})", stated)
    at = -1 if match is None else int(match[2]) if match[2] else ascii_uppercase.index(match[1].upper())
    if isinstance(row[name], bool) or not 0 <= at < count:
        last = ascii_uppercase[count - 1]
        raise InputError(
            f"{place}: the column {name!r} is {stated[:20]!r}, and it must be a letter from A to {last}, or a number "
            f"from 0 to {count - 1}"
        )
    return at
