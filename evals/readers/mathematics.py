"""GSM8K, MATH-500, AIME and AMC: rows in, `Problem`s of kind math out."""

import math
import re
from collections.abc import Iterator, Sequence

from distill.answers import boxed, reference_answer
from distill.errors import InputError
from distill.records import Problem
from distill.tables import Row
from evals.readers.rows import column, filled, prompt, rows_of, shown

PROMPTS = ("problem", "question", "Problem", "Question")
ANSWERS = ("answer", "expected_answer", "Answer", "ground_truth")
_WHOLE = re.compile(r"-?\d{1,40}(?:\.0*)?")


def gsm8k(path: str | None) -> Iterator[Problem]:
    """The answer is what stands after the reference solution's `####`."""
    for place, row in rows_of("distill_gsm8k", path, "gsm8k"):
        answer = reference_answer(_answer(row, ANSWERS, place))
        if "####" in answer:
            raise InputError(f"{place}: nothing stands behind the answer's ####")
        yield Problem.of(prompt(row, ("question", *PROMPTS), place), answer, "math", "gsm8k")


def math500(path: str | None) -> Iterator[Problem]:
    """The answer is its own column, or the last box in it or in the reference solution."""
    for place, row in rows_of("distill_math500", path, "math500", "MATH-500"):
        name = column(row, (*ANSWERS, "solution", "Solution"), place)
        answer = _answer(row, (name,), place)
        found = boxed(answer)
        if name.casefold() == "solution" and not found:
            raise InputError(f"{place}: the column {name!r} has no \\boxed{{}}, so nothing says which the answer is")
        answer = found[-1] if found else answer
        yield Problem.of(prompt(row, PROMPTS, place), answer, "math", "math500")


def aime(year: int, path: str | None) -> Iterator[Problem]:
    """Every answer is an integer from 0 to 999."""
    short = f"aime{year % 100}"
    for place, row in rows_of(f"distill_{short}", path, short, f"aime_{year}", f"aime{year}"):
        answer = _integer(row, place)
        if not 0 <= int(answer) <= 999:
            raise InputError(f"{place}: the answer is {answer[:20]}, and AIME's are integers from 0 to 999")
        yield Problem.of(prompt(row, PROMPTS, place), answer, "math", short)


def amc23(path: str | None) -> Iterator[Problem]:
    """Every answer is an integer. Of a file that says by `url` which contest a row is of, only those of 2023 count: the
    Hub's AI-MO/aimo-validation-amc, from which all copies come, holds 2022, too."""
    for place, row in rows_of("distill_amc23", path, "amc23", "amc_2023"):
        contest = re.search(r"\b(\d{4})_AMC", str(row.get("url")))
        if contest is None or contest[1] == "2023":
            yield Problem.of(prompt(row, PROMPTS, place), _integer(row, place), "math", "amc23")


def _integer(row: Row, place: str) -> str:
    """The answer without leading zeros and without the `.0` that files give integers: 073 is 73, and 27.0 is 27; in
    ASCII, whatever digits the file has."""
    stated = filled(row, ANSWERS, place)
    if _WHOLE.fullmatch(stated) is None:
        raise InputError(f"{place}: the answer is {stated[:40]!r}, and it must be an integer")
    return str(int(stated.partition(".")[0]))


def _answer(row: Row, names: Sequence[str], place: str) -> str:
    """A reference as text. A list, true, or a number that is none (what pandas writes for a missing one) is no answer,
    and every model would be wrong on it."""
    name = column(row, names, place)
    value = row[name]
    odd = isinstance(value, (bool, list, dict)) or (isinstance(value, float) and not math.isfinite(value))
    if odd:
        raise InputError(f"{place}: the column {name!r} is no answer, but {shown(value)}; write it as text or a number")
    return filled(row, (name,), place)
