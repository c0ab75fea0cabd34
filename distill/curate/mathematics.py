"""Mathematics compared by math-verify: a reference and a `Final` in, a `Judgement` out.

It may take long or much memory on hostile answers, and therefore runs inside a worker. What math-verify cannot do for
want of memory or stack, or because a power is too large, is told as None: unverifiable, neither right nor wrong.

A problem may carry math-verify's own settings, `meta["math_verify"]`, a mapping with any of: `match_types` (what is
looked for, "latex" and "expr"; both by default), `precision` (decimals to which floating-point numbers must agree; 6),
`strict` (whether variables must have the same names, and sets are no tuples; true), and `allow_set_relation_comp`
(whether `1 < x < 2` may answer to the set `(1, 2)`; false). Then nothing is decided without math-verify.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

from distill.curate import forms
from distill.curate.final import Final
from distill.records import Judgement

LONGEST = 1_000
"""Characters of a mathematical answer in a box; MATH's longest has 159."""

TAIL = 4_000
"""Characters, from the end, in which an answer without a box is looked for; parsing grows faster than the text."""

_MARKUP = ("$", "\\boxed", "\\(", "\\[", "\\begin")
_EXHAUSTED = (MemoryError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Settings:
    """math-verify's settings; the defaults are its own."""

    match_types: tuple[str, ...] = ()
    precision: int = 6
    strict: bool = True
    allow_set_relation_comp: bool = False


DEFAULT = Settings()


def settings(meta: Mapping[str, Any]) -> Settings:
    """The settings in a problem's meta; raises ValueError for an unknown key or a value that cannot be."""
    given = meta.get("math_verify")
    if given is None:
        return DEFAULT
    if not isinstance(given, Mapping):
        raise ValueError("meta math_verify must be a mapping of settings")
    checks: dict[str, Callable[[Any], bool]] = {
        "match_types": lambda value: (
            isinstance(value, (list, tuple)) and bool(value) and all(one in ("latex", "expr") for one in value)
        ),
        "precision": lambda value: type(value) is int and 0 <= value <= 15,
        "strict": lambda value: isinstance(value, bool),
        "allow_set_relation_comp": lambda value: isinstance(value, bool),
    }
    for key, value in given.items():
        if key not in checks:
            raise ValueError(f"meta math_verify has no setting {key!r}; it knows {', '.join(checks)}")
        if not checks[key](value):
            raise ValueError(f"meta math_verify: {key} cannot be {str(value)[:40]!r}")
    return Settings(**{**given, "match_types": tuple(given.get("match_types", ()))})


def judge(gold_text: str, said: Final, chosen: Settings = DEFAULT) -> Judgement:
    """Whether the final answer is the reference, by math-verify. Raises what its parser raises."""
    gold = _gold(gold_text.strip(), chosen)
    if not gold:
        return Judgement(None, f"the reference answer {gold_text[:80]!r} cannot be read as mathematics")
    tried = _Tried(gold, chosen)
    if _right(tried, said) or _together(tried, gold_text, said):
        return Judgement(True, said.note)
    stuck = tried.exhausted or forms.too_large(said.text if said.texts else said.whole[-TAIL:])
    if stuck:
        return Judgement(None, f"cannot be read: {stuck}")
    if not tried.read:
        return Judgement(False, "there is no mathematics in the answer")
    shown = said.text if said.texts else tried.read
    return Judgement(False, "; ".join(filter(None, [f"{short(shown)} is not {short(gold_text)}", said.note])))


def load() -> None:
    """Loads math-verify, and what it loads on its first answer."""
    _gold("\\frac{1}{2}", DEFAULT)


def short(text: str) -> str:
    """A text at a length that fits a detail."""
    return text if len(text) <= 80 else f"{text[:77]}…"


class _Tried:
    """The reference, and what came of comparing readings of one answer with it."""

    def __init__(self, gold: tuple[Any, ...], chosen: Settings) -> None:
        self._gold, self._chosen = gold, chosen
        self.read, self.exhausted = "", ""

    def equals(self, text: str) -> bool:
        """Whether what math-verify reads in a text is the reference."""
        from math_verify import verify

        target = _parse(text, self._chosen)
        if target:
            self.read = short(str(target[-1])) if isinstance(target[-1], str) else "an expression"
        if all(isinstance(one, str) for one in target):
            self._look_closer(target)
        for one, other in product(self._gold, target):
            try:
                if verify(
                    one,
                    other,
                    float_rounding=self._chosen.precision,
                    strict=self._chosen.strict,
                    allow_set_relation_comp=self._chosen.allow_set_relation_comp,
                    timeout_seconds=None,
                    raise_on_error=True,
                ):
                    return True
            except _EXHAUSTED as error:
                self.exhausted = type(error).__name__
            except Exception:  # what math-verify cannot compare is not equal, as in math-verify
                continue
        return False

    def _look_closer(self, target: list[Any]) -> None:
        """Finds out why math-verify could read nothing: it swallows that memory or stack was at its end."""
        from math_verify.parser import parse_latex_cached

        for text in target:
            try:
                parse_latex_cached(text)
            except _EXHAUSTED as error:
                self.exhausted = type(error).__name__
            except Exception:  # it is malformed, and an ordinary wrong answer
                continue


def _right(tried: _Tried, said: Final) -> bool:
    if not said.texts:
        return tried.equals(said.whole[-TAIL:])
    if len(said.texts) == 1:
        return tried.equals(f"\\boxed{{{said.texts[0]}}}")
    return tried.equals(_listed(said.texts)) or all(tried.equals(f"\\boxed{{{text}}}") for text in said.texts)


def _together(tried: _Tried, gold_text: str, said: Final) -> bool:
    """Whether the reference lists several values, and all the boxes are just these, wherever they stand."""
    distinct = tuple(dict.fromkeys(said.boxes))
    if "," not in gold_text or len(distinct) < 2 or distinct == said.texts:
        return False
    return len(distinct) <= 20 and tried.equals(_listed(distinct))


def _listed(texts: tuple[str, ...]) -> str:
    return " and ".join(f"$\\boxed{{{text}}}$" for text in texts)


@lru_cache(maxsize=256)
def _gold(text: str, chosen: Settings) -> tuple[Any, ...]:
    """The reference, read once for all its answers."""
    marked = any(sign in text for sign in _MARKUP)
    if chosen.match_types or marked:
        found = _parse(text, chosen)
        if found or marked:
            return tuple(found)
    return tuple(_parse(f"\\boxed{{{text}}}", chosen))


def _parse(text: str, chosen: Settings) -> list[Any]:
    """By math-verify, without its clock: that is SIGALRM, which works in no thread (its issue 42)."""
    from math_verify import parse

    more = {"extraction_config": _targets(chosen.match_types)} if chosen.match_types else {}
    found: list[Any] = parse(text, parsing_timeout=None, raise_on_error=True, **more)
    return found


@lru_cache(maxsize=8)
def _targets(match_types: tuple[str, ...]) -> list[Any]:
    """As in math-verify's own tests: a box goes before all else."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig

    known = {"latex": lambda: LatexExtractionConfig(boxed_match_priority=0), "expr": ExprExtractionConfig}
    return [known[name]() for name in match_types]
