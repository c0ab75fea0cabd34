"""Is an answer right? A problem and the text after the reasoning in, a `Judgement` out; no process, no clock.

What counts is the last `\\boxed{}` of the ANSWER text; where several boxes differ, the last one counts, unless the
reference itself lists several values: then all boxes together may be the answer too. Without a box:
for `math` the last mathematics in the text (math-verify's own extraction), for `choice` and `text` what follows
"answer is" or stands last, for `rule` what the rule reads. `judge` may take long or much memory on hostile
mathematics and therefore runs inside a worker; `quick` never does.
"""

import re
from decimal import Decimal

from distill.answers import boxed
from distill.curate import words
from distill.records import Judgement, Problem

MAX_ANSWER = 20_000
"""Characters; nothing longer is a final answer."""

_NUMBER = re.compile(r"[-+]?(\d{1,15}|\d{1,3}(,\d{3}){1,4})(\.\d{1,12})?")
_GOLD_HAS_MARKUP = re.compile(r"\$|\\boxed|\\\(|\\\[|\\begin")
_UNIT = re.compile(r"(?<=[\d}])(?:\\[,;!: ]|~|\s)*\\(?:text|mathrm|textbf|mbox)\s*\{[^{}]*\}\s*(?:\^\{?\d\}?)?\s*$")
_RIGHT = 0.999
_TAIL = 4_000  # characters in which an answer without a box is looked for; parsing grows faster than the text


def quick(problem: Problem, answer: str) -> Judgement | None:
    """A judgement where strings alone decide, in microseconds; None where the answer must go to `judge`."""
    if not answer.strip():
        return Judgement(False, "no answer")
    boxes = boxed(answer)
    candidate = boxes[-1] if boxes else answer.strip()
    if not candidate:
        return Judgement(False, "the last box is empty")
    if len(candidate) > MAX_ANSWER:
        return Judgement(None, f"too long: {len(candidate):,} characters after extraction")
    if not problem.answer.strip() and problem.answer_kind != "rule":
        return Judgement(None, "the problem has no reference answer")
    if problem.answer_kind == "choice":
        return words.judge_choice(problem, answer, boxes)
    if problem.answer_kind == "text":
        return words.judge_text(problem, answer, boxes)
    if problem.meta.get("rule") == "knights_knaves":
        return words.judge_knights(problem, answer, boxes)
    return _same_number(problem.answer, candidate) if problem.answer_kind == "math" else None


def judge(problem: Problem, answer: str) -> Judgement:
    """The full judgement. Never raises: what goes wrong with an answer is told as Judgement(None, …)."""
    try:
        known = quick(problem, answer)
        if known is not None:
            return known
        return _judge_math(problem, answer) if problem.answer_kind == "math" else _judge_rule(problem, answer)
    except Exception as error:  # any answer may break a parser in any way; it is told, never raised
        return Judgement(None, f"{type(error).__name__}: {str(error)[:200]}")


def prepare(problem: Problem) -> None:
    """Loads what judging such a problem needs, so that no answer pays for it with its own time."""
    if problem.answer_kind == "math":
        _parse("\\boxed{\\frac{1}{2}}")
    elif problem.meta.get("rule") == "reasoning_gym":
        import reasoning_gym  # noqa: F401


def _same_number(gold: str, candidate: str) -> Judgement | None:
    """Plain numbers: equal ones are right, and unequal whole ones wrong; all else is for the parser."""
    gold, candidate = _plain(gold), _plain(candidate)
    if not _NUMBER.fullmatch(gold) or not _NUMBER.fullmatch(candidate):
        return None
    if Decimal(gold.replace(",", "")) == Decimal(candidate.replace(",", "")):
        return Judgement(True)
    return Judgement(False, f"{candidate} is not {gold}") if (gold + candidate).lstrip("-").isdecimal() else None


def _plain(text: str) -> str:
    """Without dollar signs, LaTeX's thin spaces, a unit in \\text{}, and a final full stop."""
    text = text.strip().strip("$").strip()
    text = _UNIT.sub("", text.replace("\\!", "").replace("{,}", ",").replace("\\$", ""))
    return text.strip().removesuffix(".")


def _judge_math(problem: Problem, answer: str) -> Judgement:
    from math_verify import verify

    boxes = boxed(answer)
    gold_text = problem.answer.strip()
    gold = _parse(gold_text if _GOLD_HAS_MARKUP.search(gold_text) else f"\\boxed{{{gold_text}}}")
    if not gold:
        return Judgement(None, f"the reference answer {gold_text[:80]!r} cannot be read as mathematics")
    target = _parse(f"\\boxed{{{boxes[-1]}}}" if boxes else answer[-_TAIL:])
    if target and verify(gold, target, timeout_seconds=None):
        return Judgement(True)
    if boxes and (_lenient(gold_text, boxes[-1]) or _together(gold_text, gold, boxes)):
        return Judgement(True)
    if not target:
        return Judgement(False, "there is no mathematics in the answer")
    return Judgement(False, f"{_short(boxes[-1] if boxes else str(target[0]))} is not {_short(gold_text)}")


def _parse(text: str) -> list[object]:
    """By math-verify, without its clock: that is SIGALRM, which works in no thread (its issue 42)."""
    from math_verify import parse

    found: list[object] = parse(text, parsing_timeout=None, raise_on_error=True)
    return found


def _together(gold_text: str, gold: list[object], boxes: list[str]) -> bool:
    """Whether the reference lists several values, and the boxes are just these: `\\boxed{1}` and `\\boxed{2}`."""
    from math_verify import verify

    if "," not in gold_text or len(set(boxes)) < 2:
        return False
    target = _parse(" and ".join(f"$\\boxed{{{box}}}$" for box in boxes))
    return bool(target and verify(gold, target, timeout_seconds=None))


def _lenient(gold: str, candidate: str) -> bool:
    """Where only the writing differs: a unit, a percent or degree sign, white space, or which fraction command."""
    return _written(gold) == _written(candidate) or _same_number(_written(gold), _written(candidate)) == Judgement(True)


def _written(text: str) -> str:
    text = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}", r"\1", _plain(text))
    text = re.sub(r"\\[dt]frac", r"\\frac", text).replace("\\left", "").replace("\\right", "")
    text = re.sub(r"\\%|%|\^\\circ|\^\{\\circ\}|°|\\[,;: ]", "", text)
    return "".join(text.split())


def _judge_rule(problem: Problem, answer: str) -> Judgement:
    """By the library's scorer, on each way to read the answer: the box, or the last line, or the whole text."""
    if problem.meta.get("rule") != "reasoning_gym":
        return Judgement(None, f"there is no rule {problem.meta.get('rule')!r}")
    from distill import procedural

    boxes = boxed(answer)
    stated = [boxes[-1]] if boxes else [answer.strip().splitlines()[-1].strip(), answer.strip()]
    readings = dict.fromkeys([*stated, *(words.unwrap(text) for text in stated)])
    best = max(procedural.score(problem.meta, reading) for reading in readings)
    return Judgement(True) if best >= _RIGHT else Judgement(False, f"the scorer gives {best:g}")


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
