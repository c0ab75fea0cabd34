"""What an answer votes for in cons@k, and what the YAML tasks compare: a problem and an answer in, a short text out.

Two wrong answers that say the same must come out as one vote: right ones are one group whatever their form, so that
every wrong answer that is told apart from its like makes the right ones win. Plain rules, no mathematics.
"""

import re

from distill.records import Problem
from evals import metrics

LONGEST = 20_000
"""Characters of an answer, from its end, that are read."""

_LABELLED = re.compile(
    r"(?:the)?(?:correct|right|final|best)?(?:answer|option|choice)?(?:is)?:?"
    r"(?:[(\[]([a-z])[)\]]|([a-z])(?=[).:]|$))(?!(?:or|and|,|/)+[(\[]?[a-z][)\]]?$)[).:]?.*"
)
_FURNITURE = re.compile(r"\\(?:boxed|text|textbf|mathrm|mbox|quad|[a-z]*rightarrow)(?![a-z])|[*{}$~&|]")
_OPTION = re.compile(r"^ *\(([A-Z])\) (.+)$", re.MULTILINE)
_ONE_OF_TWO = re.compile(r"(yes|no|true|false|valid|invalid)(?![a-z/])")


def vote(problem: Problem, answer: str) -> str:
    """What the answer says, by the problem's kind: an option's letter, one of two words, who is a knight, or the last
    box or line in plain form. Empty where it says nothing."""
    said = metrics.said(answer)
    if problem.answer_kind == "choice":
        return _label(problem, said.replace("*", ""))
    if problem.answer_kind == "text":
        word = _ONE_OF_TWO.match(said)
        return word[1] if word else said
    if problem.meta.get("rule") == "knights_knaves":
        told = knights(problem.meta["solution"], answer)
        if None not in told.values():
            return ",".join("knight" if knight else "knave" for knight in told.values())
    return said


def knights(names: dict[str, bool], answer: str) -> dict[str, bool | None]:
    """Whom the last plain statement on each calls a knight, such as "Zoey is a knight" or "Zoey: knight"; None where
    there is none."""
    plain = " ".join(_FURNITURE.sub(" ", answer[-LONGEST:]).split())
    told: dict[str, bool | None] = {}
    for name in names:
        pattern = rf"\b{re.escape(name)}(?: is| ?[:=])? ?(?:an? |the )?(knight|knave)\b"
        found = re.findall(pattern, plain, re.IGNORECASE)
        told[name] = found[-1].casefold() == "knight" if found else None
    return told


def _label(problem: Problem, said: str) -> str:
    """The option's letter: as it stands, with its words behind it, or by its words alone."""
    found = _LABELLED.fullmatch(said)
    if found:
        return found[1] or found[2]
    named = [label for label, text in _OPTION.findall(problem.prompt) if metrics.plain(text) == said]
    return named[0].casefold() if len(named) == 1 else said
