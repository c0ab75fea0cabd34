"""Is an answer right? A problem and the text after the reasoning in, a `Judgement` out; no process, no clock.

`final.py` says what counts as the final answer: the last `\\boxed{}`, and never the reasoning. By kind of answer:

- `math`: plain numbers (`numbers.py`) and identical LaTeX (`forms.py`) are decided at once, and all else by math-verify
  (`mathematics.py`). Where a number is right although math-verify by itself may say wrong, the detail is "but for the
  unit", or another of `LENIENCES`; identical LaTeX needs none. `meta["math_verify"]` may hold math-verify's own
  settings, such as `{"match_types": ["latex", "expr"], "precision": 2, "strict": false, "allow_set_relation_comp":
  true}`; then nothing but math-verify decides, and an unknown one makes the answer unverifiable.
- `choice`: `options.py`. `text`: `words.py`.
- `rule`: `meta["rule"]` is `knights_knaves` (`knights.py`), `lineage` (`options.py`), or `reasoning_gym`, whose answers
  are scored by that library itself (`distill.procedural`).

Right is None, unverifiable, for what cannot be read: nested too deeply, too long, a box or a brace that never closes,
a reference that makes no sense. An empty answer is wrong. `judge` may take long or much memory on hostile mathematics
and therefore runs inside a worker; `quick` never does.
"""

from distill.curate import forms, knights, mathematics, numbers, options, words
from distill.curate.final import Final, final
from distill.records import Judgement, Problem

MAX_ANSWER = 20_000
"""Characters; nothing longer is a final answer."""

LENIENCES = (*numbers.LENIENCES, "same writing")
"""For what an answer may be right although math-verify by itself calls it wrong."""

_RIGHT = 0.999


def quick(problem: Problem, answer: str) -> Judgement | None:
    """A judgement where strings alone decide, in microseconds; None where the answer must go to `judge`."""
    said = final(answer)
    if said is None:
        return Judgement(False, "the reasoning never ended, so there is no answer")
    if not said.whole:
        return Judgement(False, "no answer")
    if not problem.answer.strip() and problem.answer_kind != "rule":
        return Judgement(None, "the problem has no reference answer")
    if problem.answer_kind == "text":
        signs = words.judge_signs(problem, said)
        if signs is not None:
            return signs
    if said.unclosed:
        return Judgement(None, "cannot be read: its last box never closes")
    if not said.text:
        return Judgement(False, "the last box is empty")
    reads_all = problem.answer_kind == "math" or problem.meta.get("rule") == "reasoning_gym"
    if len(said.text) > MAX_ANSWER and (said.texts or reads_all):
        return Judgement(None, f"too long: {len(said.text):,} characters after extraction")
    match (problem.answer_kind, problem.meta.get("rule")):
        case ("math", _):
            return _quick_math(problem, said)
        case ("choice", _):
            return options.judge(problem, said)
        case ("text", _):
            return words.judge(problem, said)
        case (_, "knights_knaves"):
            return knights.judge(problem, said)
        case (_, "lineage"):
            return options.judge_lineage(problem, said)
        case (_, "reasoning_gym"):
            return None
    return Judgement(None, f"there is no rule {str(problem.meta.get('rule'))[:40]!r}")


def judge(problem: Problem, answer: str) -> Judgement:
    """The full judgement. Never raises: what goes wrong with an answer is told as Judgement(None, …)."""
    try:
        known = quick(problem, answer)
        if known is not None:
            return known
        said = final(answer)
        assert said is not None, "quick answers for unfinished reasoning"
        if problem.answer_kind == "math":
            return mathematics.judge(problem.answer, said, mathematics.settings(problem.meta))
        return _judge_gym(problem, said)
    except Exception as error:  # any answer may break a parser in any way; it is told, never raised
        return Judgement(None, f"{type(error).__name__}: {str(error)[:200]}")


def prepare(problem: Problem) -> None:
    """Loads what judging such a problem needs, so that no answer pays for it with its own time."""
    if problem.answer_kind == "math":
        mathematics.load()
    elif problem.meta.get("rule") == "reasoning_gym":
        import reasoning_gym  # noqa: F401


def _quick_math(problem: Problem, said: Final) -> Judgement | None:
    """Numbers and identical writing at once; everything else is for math-verify, unless it is too much for it."""
    if problem.meta.get("math_verify") is None and len(said.texts) < 2:
        same = _same_number(problem.answer, said)
        if same is not None:
            return same
        if forms.same_writing(problem.answer, said.text) and len(said.text) <= mathematics.LONGEST:
            return Judgement(True, said.note)
    if unreadable := _unreadable(said):
        return Judgement(None, unreadable)
    return _unset(problem)


def _unreadable(said: Final) -> str:
    """Why math-verify is not even asked; empty where it is."""
    if said.texts and len(said.text) > mathematics.LONGEST:
        return f"too long: {len(said.text):,} characters in the box"
    formula = bool(said.texts) or not any(character.isalpha() for character in said.whole)
    trouble = forms.too_much(said.text) or forms.unbalanced(said.text, brackets=formula)
    return f"cannot be read: {trouble}" if trouble else ""


def _unset(problem: Problem) -> Judgement | None:
    """The judgement where the problem's settings cannot be; None where they can, or where there are none."""
    try:
        mathematics.settings(problem.meta)
    except ValueError as error:
        return Judgement(None, str(error))
    return None


def _same_number(reference: str, said: Final) -> Judgement | None:
    gold, number = numbers.read(reference), numbers.read(said.text)
    if gold is None or number is None:
        gold, number = gold or numbers.decimal_comma(reference), number or numbers.decimal_comma(said.text)
        if gold is None or number is None or gold.value != number.value:
            return None
    same = numbers.same(gold, number)
    if same:
        beyond = number.beyond or gold.beyond
        return Judgement(True, _joined(f"but for the {beyond}" if beyond else "", said.note))
    if same is None or ("," in reference and len(said.boxes) > 1):
        return None  # the reference may list several values, which may stand in several boxes
    return Judgement(False, _joined(f"{mathematics.short(said.text)} is not {mathematics.short(reference)}", said.note))


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))


def _judge_gym(problem: Problem, said: Final) -> Judgement:
    """By the library's scorer, on each way to read the answer: the box, or the last line, or the whole text."""
    from distill import procedural

    stated = [said.text] if said.texts else [said.whole.splitlines()[-1].strip(), said.whole]
    stated += [words.unwrap(text) for text in stated]
    readings = dict.fromkeys([*stated, *(text.rstrip(".") for text in stated)])
    best = max(procedural.score(problem.meta, reading) for reading in readings)
    return Judgement(True) if best >= _RIGHT else Judgement(False, f"the scorer gives {best:g}")
