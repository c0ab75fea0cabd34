"""Which tokens of a teacher's rows are kept: takes rows, whole or top-K, gives `Rows` of at most k tokens each.

    N  positions        K  columns of the given rows        F  tokens that could be kept, of all positions together

A token is left out where `mass` is carried without it, where it is beyond the k likeliest, or where it is less likely
than the trace's floor. The floor and the step that probabilities are rounded to go together (FLOOR), since at the best
exchange of bytes for divergence both follow from one price; the highest is taken at which the trace's mean KL
divergence between the given distribution and the restored one stays within `kl_nats`, or, where that cannot be
reached, within SLACK times what is reached at the floor below which no token is worth its bytes (WORTH). So positions
that are nearly decided keep a token or two, and the bytes go where the teacher is of several minds.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.signals import codec
from distill.signals.bits import Floats, Ints
from distill.signals.codec import Rows

FLOOR = 0.4
"""The floor in squared steps: at 0.3 to 0.6 generated rows took the fewest bytes for the same divergence."""

SLACK = 1.1
"""How far the divergence may lie above the least that can be reached, where `kl_nats` cannot be."""

WORTH = 34
"""The number of the finest step that is tried for `kl_nats`: its floor is 4e-6, where two bytes win some 2e-5 nats."""

CHUNK = 2**22
"""Cells of the given rows that are looked at together, so that memory does not grow with them."""

ROUNDING = 1e-2
"""How far a row's mass may be from 1: bfloat16 log-probabilities are rounded by so much."""

TINY = 1e-300
"""Stands for a mass of 0 where its logarithm is multiplied by 0."""

LEAST = 1e-9
"""The least tail's mass that is told apart from none."""


@dataclass(frozen=True)
class SignalSettings:
    """How much of a teacher's distribution is kept: at most `k` tokens of a position, no more than carry `mass`, and
    no more than keep the mean KL divergence of a trace within `kl_nats` (0: all that carry `mass`)."""

    k: int = 256
    mass: float = 0.99999
    kl_nats: float = 8e-4

    def __post_init__(self) -> None:
        if self.k < 1 or not 0 < self.mass <= 1 or not self.kl_nats >= 0:
            raise ValueError(f"k must be 1 or more, mass above 0 and at most 1, kl_nats 0 or more; not {self}")


@dataclass(frozen=True)
class _Given:
    """Checked rows by position, then by id: what could be kept, and of all else its mass and its sum of p log p."""

    row_F: Ints
    ids_F: Ints
    masses_F: Floats
    plogp_F: Floats
    carried_F: Floats  # the mass of the likelier tokens of the same position: 0 for the likeliest
    rest_N: Floats
    rest_plogp_N: Floats


def choose(
    targets_N: Ints,
    ids_NK: NDArray[Any],
    logprobs_NK: NDArray[Any],
    tail_N: NDArray[Any] | None,
    known_N: NDArray[np.bool_],
    vocabulary: int,
    settings: SignalSettings,
) -> tuple[Rows, float]:
    """The quantized rows, and the sum over the known positions of KL(given || restored) in nats.

    What a given tail (`tail_N`, or what is missing to 1) hides is taken as even. Raises ValueError for rows that are no
    distributions over the vocabulary.
    """
    lowest, highest = (0, WORTH) if settings.kl_nats else (codec.FINEST, codec.FINEST)
    least_mass = FLOOR * codec.step_of(highest) ** 2
    chunk = max(1, CHUNK // max(ids_NK.shape[1], 1))
    parts = []
    for at in range(0, max(len(targets_N), 1), chunk):
        span = slice(at, at + chunk)
        tails = None if tail_N is None else tail_N[span]
        part = (ids_NK[span], logprobs_NK[span], tails, known_N[span])
        try:
            parts.append(_checked(*part, vocabulary, settings.k, least_mass))
        except _Wrong as error:
            raise ValueError(f"position {at + error.position} {error.says}") from error
    starts = np.cumsum([0] + [len(part.rest_N) for part in parts])
    given = _Given(
        np.concatenate([part.row_F + start for part, start in zip(parts, starts, strict=False)]),
        *(np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(_Given)[1:]),
    )
    least = _quantized(given, highest, targets_N, known_N, vocabulary, settings.mass)[1]
    allowed = max(settings.kl_nats * int(known_N.sum()), SLACK * least)
    while lowest < highest:
        middle = (lowest + highest) // 2
        _, nats = _quantized(given, middle, targets_N, known_N, vocabulary, settings.mass)
        if nats <= allowed:
            highest = middle
        else:
            lowest = middle + 1
    return _quantized(given, highest, targets_N, known_N, vocabulary, settings.mass)


class _Wrong(Exception):
    """A row that is no distribution, by its position in the chunk."""

    def __init__(self, position: int, says: str) -> None:
        super().__init__(says)
        self.position, self.says = position, says


def _check(right_N: Any, says: str, values_N: Floats | None = None) -> None:
    if not right_N.all():
        wrong = int(np.argmin(right_N))
        raise _Wrong(wrong, says if values_N is None else says.format(f"{values_N[wrong]:.6g}"))


def _checked(
    ids_NK: NDArray[Any],
    logprobs_NK: NDArray[Any],
    tail_N: NDArray[Any] | None,
    known_N: NDArray[np.bool_],
    vocabulary: int,
    k: int,
    least_mass: float,
) -> _Given:
    """Rows as masses that sum to 1: apart from the rest, of the k likeliest tokens those that have `least_mass`."""
    masses_NK = _masses(ids_NK, logprobs_NK, known_N, vocabulary)
    given_N = (ids_NK != -1).sum(1)
    tails_N = _tails(masses_NK.sum(1), given_N, tail_N, known_N, vocabulary)
    width = min(k, masses_NK.shape[1])
    columns_NF = _likeliest(masses_NK, width)
    top_NF, top_ids_NF = np.take_along_axis(masses_NK, columns_NF, 1), np.take_along_axis(ids_NK, columns_NF, 1)
    some_NF = top_NF >= least_mass
    width = int(some_NF.sum(1).max(initial=0))
    columns_NF, top_NF, top_ids_NF = columns_NF[:, :width], top_NF[:, :width], top_ids_NF[:, :width]
    some_NF = some_NF[:, :width]
    np.put_along_axis(masses_NK, columns_NF, np.where(some_NF, 0.0, top_NF), 1)
    hidden_N = np.maximum(vocabulary - given_N, 1)
    rest_plogp_N = _plogp(masses_NK).sum(1) + tails_N * np.log(np.maximum(tails_N, TINY) / hidden_N)
    carried_NF = np.cumsum(top_NF, axis=1) - top_NF
    order_NF = np.argsort(top_ids_NF, axis=1)
    some_NF = np.take_along_axis(some_NF, order_NF, 1)
    ids_F, masses_F, carried_F = (
        np.take_along_axis(values, order_NF, 1)[some_NF] for values in (top_ids_NF, top_NF, carried_NF)
    )
    rest_N = masses_NK.sum(1) + tails_N
    row_F = np.nonzero(some_NF)[0]
    return _Given(row_F, ids_F.astype(np.int64), masses_F, _plogp(masses_F), carried_F, rest_N, rest_plogp_N)


def _masses(ids_NK: NDArray[Any], logprobs_NK: NDArray[Any], known_N: NDArray[np.bool_], vocabulary: int) -> Floats:
    """The masses of the given tokens, 0 where padded or not known."""
    used_NK = (ids_NK != -1) & known_N[:, None]
    masses_NK: Floats = np.where(used_NK, logprobs_NK, -np.inf).astype(np.float64)
    _check(~np.isnan(masses_NK).any(1), "has a log-probability that is not a number")
    _check((masses_NK <= ROUNDING).all(1), "has a log-probability above 0")
    outside_NK = used_NK & ((ids_NK < 0) | (ids_NK >= vocabulary))
    _check(~outside_NK.any(1), f"has an id outside 0 to {vocabulary - 1}")
    if not (np.diff(ids_NK, axis=1) > 0).all():
        ordered_NK = np.sort(np.where(used_NK, ids_NK, -1), axis=1)
        twice_NK = (np.diff(ordered_NK, axis=1) == 0) & (ordered_NK[:, 1:] >= 0)
        _check(~twice_NK.any(1), "has an id twice")
    return np.exp(masses_NK, out=masses_NK)


def _tails(
    sums_N: Floats, given_N: Ints, tail_N: NDArray[Any] | None, known_N: NDArray[np.bool_], vocabulary: int
) -> Floats:
    """The masses of the given tails; raises _Wrong where a row's mass is not 1."""
    whole_N = given_N >= vocabulary
    if tail_N is None:
        # what a row lacks to 1 may be lost to rounding, yet it is not nothing unless the row has the whole vocabulary
        tails_N = np.where(whole_N | ~known_N, 0.0, np.maximum(1 - sums_N, LEAST))
    else:
        _check(~known_N | ~np.isnan(tail_N), "has a tail that is not a number")
        tails_N = np.exp(np.where(known_N, tail_N, -np.inf).astype(np.float64))
    _check((tails_N <= LEAST) | ~whole_N, "has a tail of {}, and no token is left for it", tails_N)
    totals_N = np.where(known_N, sums_N + tails_N, 1.0)
    _check(np.abs(totals_N - 1) <= ROUNDING, "has a mass of {}, which is not 1", totals_N)
    return np.where(whole_N, 0.0, tails_N)


def _likeliest(masses_NK: Floats, width: int) -> NDArray[np.int64]:
    """The columns of the largest masses, largest first."""
    columns_NK = np.broadcast_to(np.arange(masses_NK.shape[1]), masses_NK.shape)
    if width < masses_NK.shape[1]:
        columns_NK = np.argpartition(masses_NK, -width, axis=1)[:, -width:]
    order_NK = np.argsort(-np.take_along_axis(masses_NK, columns_NK, 1), axis=1, kind="stable")
    return np.take_along_axis(columns_NK, order_NK, 1)


def _plogp(masses: Floats) -> Floats:
    return masses * np.log(np.maximum(masses, TINY))


def _quantized(
    given: _Given, step: int, targets_N: Ints, known_N: NDArray[np.bool_], vocabulary: int, mass: float
) -> tuple[Rows, float]:
    """The rows at a step, and what they cost in nats."""
    top_F = given.carried_F == 0
    kept_F = (given.masses_F >= FLOOR * codec.step_of(step) ** 2) & ((given.carried_F < mass) | top_F)
    rows = _rows(given, kept_F, step, targets_N, known_N)
    tops_N, others_M, tails_N = codec.restore(rows)
    restored_F = tops_N[given.row_F]
    restored_F[kept_F & ~top_F] = others_M
    nats = float((given.plogp_F - given.masses_F * np.log(np.maximum(restored_F, TINY)))[kept_F].sum())
    left_N, left_plogp_N = _left(given, kept_F, len(targets_N))
    some_N = known_N & (left_N > 0)
    even_N = np.maximum(tails_N, TINY) / np.maximum(vocabulary - rows.counts_N, 1)
    return rows, nats + float((left_plogp_N - left_N * np.log(even_N))[some_N].sum())


def _left(given: _Given, kept_F: NDArray[np.bool_], count: int) -> tuple[Floats, Floats]:
    """The mass of all that is not kept, and its sum of p log p."""
    row_L, masses_L, plogp_L = given.row_F[~kept_F], given.masses_F[~kept_F], given.plogp_F[~kept_F]
    left_N = given.rest_N + np.bincount(row_L, masses_L, count)
    return left_N, given.rest_plogp_N + np.bincount(row_L, plogp_L, count)


def _rows(given: _Given, kept_F: NDArray[np.bool_], step: int, targets_N: Ints, known_N: NDArray[np.bool_]) -> Rows:
    size, count = codec.step_of(step), len(targets_N)
    top_F = kept_F & (given.carried_F == 0)
    beside_F = kept_F & ~top_F
    ids_N, masses_N = np.zeros(count, dtype=np.int64), np.zeros(count)
    ids_N[given.row_F[top_F]], masses_N[given.row_F[top_F]] = given.ids_F[top_F], given.masses_F[top_F]
    rows = Rows(
        step=step,
        targets_N=targets_N,
        known_N=known_N,
        counts_N=np.bincount(given.row_F[kept_F], minlength=count),
        tops_N=ids_N,
        top_codes_N=np.zeros(count, dtype=np.int64),
        tails_N=codec.tail_codes(_left(given, kept_F, count)[0]),
        ids_M=given.ids_F[beside_F],
        levels_M=_levels(given.masses_F[beside_F], size),
    )
    # Where the others' errors add up to more than its own would be, it is stated, and all are scaled to sum to 1
    left_N = codec.restore(rows)[0]
    apart_N = np.log(np.maximum(masses_N, TINY) / np.maximum(left_N, TINY))
    stated_N = (rows.counts_N > 0) & (masses_N * apart_N**2 / 2 > size**2 / 3)
    return replace(rows, top_codes_N=np.where(stated_N, _levels(masses_N, size), 0))


def _levels(masses: Floats, size: float) -> Ints:
    return np.maximum(np.rint(np.sqrt(masses) / size).astype(np.int64), 1)
