"""The cold-start texts of the bundled models: problems from reasoning-gym in, prompts and completions out.

Two families. Mathematics is `basic_arithmetic` with three terms; logic is `aiw` ("Alice in Wonderland", siblings
and friends: one has to count the sister herself). The third kind of `aiw`, colleagues, is left out: its stated answer
leaves out the second circle, so a right chain of thought would be marked wrong.

The teacher's completions reason to the end. The base's completions show the same pieces (single steps, the think
format, the names) but never their use: it stops after the first step, or forgets the sister herself.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import reasoning_gym

from distill.records import asked

ARITHMETIC: dict[str, Any] = {
    "min_terms": 3,
    "max_terms": 3,
    "max_digits": 2,
    "operators": ["+", "-"],
    "allow_parentheses": False,
    "allow_negation": False,
}
AIW: dict[str, Any] = {"task_type_weights": [0.5, 0.5, 0.0], "max_entities": 60}
FAMILIES = {"basic_arithmetic": ARITHMETIC, "aiw": AIW}

FIRST_SEED = 1_000_000_000  # recipes use small seeds; reasoning-gym's row i is drawn from seed + i
_COUNTED = re.compile(r"^(\w+) has .*?(\d+) (sisters|female friends)")


@dataclass(frozen=True)
class Text:
    """One training text: what the user asks (empty for plain text) and what follows."""

    prompt: str
    completion: str


def _step(left: int, operator: str, right: int) -> tuple[str, int]:
    result = left + right if operator == "+" else left - right
    return f"{left} {operator} {right} = {result}", result


def _finish(reasoning: list[str], answer: str | int) -> str:
    return "\n".join(reasoning) + f"\n</think>\n\nThe answer is \\boxed{{{answer}}}."


def solve_arithmetic(expression: str, *, to_the_end: bool) -> str:
    """`5 - 3 - 6` worked from left to right; only the first step unless `to_the_end`."""
    first, *rest = expression.split()
    total, steps = int(first), []
    for operator, term in zip(rest[::2], rest[1::2], strict=True):
        step, total = _step(total, operator, int(term))
        steps.append(step)
        if not to_the_end:
            break
    return _finish(steps, total)


def solve_aiw(question: str, *, to_the_end: bool) -> str:
    """Siblings and friends: the counted ones, and the girl herself unless cut short."""
    match = _COUNTED.search(question)
    if match is None:
        raise ValueError(f"not a siblings or friends question: {question!r}")
    name, count, noun = match[1], int(match[2]), match[3]
    lines = [f"{name} has {count} {noun}."]
    if not to_the_end:
        return _finish(lines, count)
    step, total = _step(count, "+", 1)
    return _finish([*lines, f"{name} counts too.", step], total)


def solve(family: str, row: dict[str, Any], *, to_the_end: bool) -> str:
    """The scripted solver: a completion for one reasoning-gym row."""
    if family == "basic_arithmetic":
        return solve_arithmetic(row["metadata"]["expression"], to_the_end=to_the_end)
    return solve_aiw(row["question"], to_the_end=to_the_end)


def problems(family: str, seed: int) -> Iterator[dict[str, Any]]:
    """Endless rows of one family, from `FIRST_SEED` upward."""
    size = 1_000_000
    yield from reasoning_gym.create_dataset(family, size=size, seed=FIRST_SEED + seed * size, **FAMILIES[family])


def teacher_texts(seed: int) -> Iterator[Text]:
    """Both families by turns, reasoned to the end, with a quarter of plain single steps."""
    yield from _mixture(seed, to_the_end=True, plain_share=0.25)


def base_texts(seed: int) -> Iterator[Text]:
    """The pieces: plain single steps, counts with one more, and problems answered after the first step."""
    yield from _mixture(seed, to_the_end=False, plain_share=0.6)


def _mixture(seed: int, *, to_the_end: bool, plain_share: float) -> Iterator[Text]:
    rng = random.Random(seed)
    rows = {family: problems(family, seed) for family in FAMILIES}
    while True:
        if rng.random() < plain_share:
            yield Text("", "\n".join(_plain_step(rng) for _ in range(6)))
            continue
        family = rng.choice(list(FAMILIES))
        row = next(rows[family])
        yield Text(asked(row["question"]), solve(family, row, to_the_end=to_the_end))


def _plain_step(rng: random.Random) -> str:
    left = rng.randint(-99, 198) if rng.random() < 0.7 else rng.randint(0, 99)
    right = 1 if rng.random() < 0.1 else rng.randint(0, 99 if rng.random() < 0.8 else 9)
    return _step(left, rng.choice("+-"), right)[0]
