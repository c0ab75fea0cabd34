"""Fresh problems of the reasoning-gym library, and its own scorer for their answers."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from distill.errors import InputError
from distill.records import Problem


def generate(family: str, size: int, seed: int, config: dict[str, Any]) -> Iterator[Problem]:
    """`size` problems of a family. Row i is drawn from seed + i; raises InputError for an unknown family or setting."""
    rows = _dataset(family, size, seed, _frozen(config))
    for index in range(size):
        row = rows[index]
        answer = "" if row["answer"] is None else str(row["answer"])
        yield Problem.of(
            row["question"],
            answer,
            "rule",
            f"reasoning_gym/{family}",
            rule="reasoning_gym",
            family=family,
            seed=seed + index,
            config=config,
        )


def score(meta: dict[str, Any], answer: str) -> float:
    """The library's own score, 0 to 1, of an answer to the problem with this `meta`.

    Its partial credit is no credit: a scorer that gives 0.67 to an answer that merely contains the right one
    is common, so callers take 1 as right and everything below as wrong.
    """
    rows = _dataset(str(meta["family"]), 1, int(meta["seed"]), _frozen(meta["config"]))
    return float(rows.score_answer(answer, rows[0]))


def _frozen(config: dict[str, Any]) -> str:
    return json.dumps(config, sort_keys=True)


@lru_cache(maxsize=4096)
def _dataset(family: str, size: int, seed: int, config: str) -> Any:
    import reasoning_gym

    try:
        return reasoning_gym.create_dataset(family, size=size, seed=seed, **json.loads(config))
    except (ValueError, TypeError, AssertionError) as error:
        raise InputError(f"reasoning-gym cannot make {family!r} with {config}: {error}") from error
