"""Answers that are words: an option's letter, a short text, or who is a knight; compared as strings, in linear time."""

import re

from distill.records import Judgement, Problem

_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|textit|mathbf|mbox|texttt)\s*\{([^{}]*)\}")
_LETTER = re.compile(r"\(([A-Za-z])\)|([A-Za-z])(?=[).:]|$)")
_ANSWER_LETTER = re.compile(r"answer(?:\s+is|:)[\s:*]*\(?([A-Z])\b")
_BRACKETED = re.compile(r"\(([A-Za-z])\)")
_OPTION = re.compile(r"^\s*\(([A-Z])\)\s*(.+?)\s*$", re.MULTILINE)
_ANSWER_TEXT = re.compile(r"answer(?: is|:)[ *:]*([^\n]+)", re.IGNORECASE)


def unwrap(text: str) -> str:
    """Without \\text{}, backslashes before signs, dollar signs and Markdown's stars."""
    for _ in range(3):
        text = _WRAPPED.sub(r"\1", text)
    text = re.sub(r"\\([{}\[\]()$%&#_<> ,;!])", r"\1", text)
    return text.replace("**", "").strip().strip("$").strip()


def judge_choice(problem: Problem, answer: str, boxes: list[str]) -> Judgement:
    """Letters compared: (B), B, b and `B. …` are the same; a box that holds an option's words is that option."""
    gold = _letter(problem.answer)
    if not gold:
        return Judgement(None, f"the reference answer {problem.answer[:40]!r} is not an option's letter")
    found = _letter(boxes[-1]) or _option(problem.prompt, boxes[-1]) if boxes else _stated_letter(answer)
    if not found:
        return Judgement(False, "the answer names no option")
    return Judgement(True) if found == gold else Judgement(False, f"({found}) is not ({gold})")


def judge_text(problem: Problem, answer: str, boxes: list[str]) -> Judgement:
    """Compared without case, white space at will, quotes around and punctuation at the end. Without a box, what
    follows the last "answer is", or the last line."""
    readings = [boxes[-1]] if boxes else [*_ANSWER_TEXT.findall(answer)[-1:], answer.strip().splitlines()[-1]]
    gold = normal(problem.answer)
    found = [normal(reading) for reading in readings]
    if gold in found or (_signs_only(gold) and gold.replace(" ", "") in [text.replace(" ", "") for text in found]):
        return Judgement(True)
    return Judgement(False, f"{found[0][:60]!r} is not {gold[:60]!r}")


def judge_knights(problem: Problem, answer: str, boxes: list[str]) -> Judgement:
    """Every name must be told rightly; the last statement about a name counts. The box is read first, and the whole
    answer only where the box leaves a name out."""
    solution = problem.meta.get("solution")
    if not isinstance(solution, dict) or not solution:
        return Judgement(None, "the problem has no solution in its meta")
    told = _statements(boxes[-1], solution) if boxes else {}
    if told.keys() != solution.keys():
        told = _statements(answer, solution)
    missing = sorted(solution.keys() - told.keys())
    if missing:
        return Judgement(False, f"the answer does not say what {', '.join(missing)} is")
    wrong = sorted(name for name, knight in solution.items() if told[name] != knight)
    return Judgement(False, f"{', '.join(wrong)} told wrongly") if wrong else Judgement(True)


def normal(text: str) -> str:
    """The form in which texts are compared; a text of nothing but punctuation keeps it."""
    text = " ".join(unwrap(text).casefold().split())
    return text.strip("\"'“”‘’` ").rstrip(".,;:!? ").strip("\"'“”‘’` ") or text


def _signs_only(text: str) -> bool:
    return not any(character.isalnum() for character in text)


def _letter(text: str) -> str:
    match = _LETTER.match(unwrap(text))
    return (match[1] or match[2]).upper() if match else ""


def _option(prompt: str, text: str) -> str:
    """The letter of the one option of the prompt that has these words."""
    letters = [letter for letter, words in _OPTION.findall(prompt) if normal(words) == normal(text)]
    return str(letters[0]) if len(letters) == 1 else ""


def _stated_letter(answer: str) -> str:
    for pattern in (_ANSWER_LETTER, _BRACKETED):
        found = pattern.findall(answer)
        if found:
            return str(found[-1]).upper()
    return _letter(answer)


def _statements(text: str, solution: dict[str, bool]) -> dict[str, bool]:
    """`X is a knight`, `X: knave`, `X = knave`, `X is not a knight`; the last about each name."""
    names = {name.casefold(): name for name in solution}
    either = "|".join(map(re.escape, names))
    plain = re.sub(r"[\\*_${}&~]", " ", unwrap(text)).casefold()
    pattern = rf"\b({either})\b\s*(?:is|are|[:=,(\-–—→])?\s*(not\s+)?(?:an?\s+|the\s+)?\b(knight|knave)\b"
    return {names[name]: (kind == "knight") != bool(no) for name, no, kind in re.findall(pattern, plain)}
