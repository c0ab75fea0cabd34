"""Chosen tokens to bytes and back: takes and gives `Rows`, the quantized distributions of one trace.

    N  positions        M  tokens kept beside the likeliest one, of all positions together, by position, then by id

What makes it small, of most worth first:

- a position keeps few tokens (`support`), and none pays for another's;
- the likeliest token is mostly the one that the trace has: a bit; its probability is what the others leave;
- the other ids are sorted and stored as gaps, in Rice codes whose parameter follows from how many there are;
- where the tokens of a trace recur, ids are places in a list of the trace's own tokens;
- the square root of a probability is rounded to a multiple of a step, and stored in Elias' gamma code. An error in the
  root costs the same KL divergence wherever it is made (step^2 / 6 nats a token, from the expansion of KL to the second
  order), so that an unlikely token, whose logarithm needs no digits, gets a bit or two.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.signals.bits import Fields, Floats, Ints, log2_floor, pack_fields, pack_unary, read_unary

FINEST = 64
"""The highest number of a step: 2^-12."""

LOWEST = 0.84
"""What level 1 stands for, in squared steps: the mean between its bounds, 0.4 (`support.FLOOR`) and 1.5^2, where tokens
get rarer with the square of their probability."""

TAIL_STEP, TAIL_MIDDLE, TAIL_LAST = 0.11, 190, 255
"""The log-odds of the tail lie on a grid of this step, from 1e-9 to 0.999."""

_HEAD = struct.Struct("<IIIIB")


@dataclass(frozen=True)
class Rows:
    """The quantized distributions of one trace."""

    step: int  # its number, see `step_of`
    targets_N: Ints
    known_N: NDArray[np.bool_]
    counts_N: Ints  # tokens kept, the likeliest one included
    tops_N: Ints  # ids of the likeliest; 0 where no token is kept
    top_codes_N: Ints  # 0: what the others leave; else its level
    tails_N: Ints  # 0: no tail; else its place on the grid of log-odds
    ids_M: Ints
    levels_M: Ints  # from 1


def step_of(number: int) -> float:
    """The step that the square roots of probabilities are rounded to: 2^-4 for 0, eight numbers an octave."""
    return float(2.0 ** (-4 - number / 8))


def tail_codes(tails_N: Floats) -> Ints:
    """The place on the grid of a tail's mass; 0 for none at all."""
    with np.errstate(divide="ignore"):
        odds_N = np.log(tails_N) - np.log1p(-np.minimum(tails_N, 1.0))
    odds_N = np.clip(odds_N, -TAIL_STEP * (TAIL_MIDDLE - 1), TAIL_STEP * (TAIL_LAST - TAIL_MIDDLE))
    return np.where(tails_N > 0, np.rint(odds_N / TAIL_STEP).astype(np.int64) + TAIL_MIDDLE, 0)


def tail_masses(codes_N: Ints) -> Floats:
    """The mass that a place on the grid stands for."""
    return np.where(codes_N > 0, 1 / (1 + np.exp(-(codes_N - TAIL_MIDDLE) * TAIL_STEP)), 0.0)


def weights(levels: Ints, step: int) -> Floats:
    """The probabilities that levels stand for, before what is restored is made to sum to 1."""
    return np.where(levels == 1, LOWEST, levels.astype(np.float64) ** 2) * step_of(step) ** 2


def restore(rows: Rows) -> tuple[Floats, Floats, Floats]:
    """Probabilities: of the likeliest token of each position, of the M others, and of each tail."""
    others_M = weights(rows.levels_M, rows.step)
    beside_N = np.maximum(rows.counts_N - 1, 0)
    row_M = np.repeat(np.arange(len(beside_N)), beside_N)
    sums_N = np.bincount(row_M, others_M, len(beside_N))
    some_N = rows.counts_N > 0
    tails_N = np.where(some_N, tail_masses(rows.tails_N), 1.0)
    stated_N = weights(np.maximum(rows.top_codes_N, 1), rows.step)
    tops_N = np.where(rows.top_codes_N == 0, np.maximum(1 - tails_N - sums_N, 1e-9), stated_N)
    scales_N = np.where(some_N, (1 - tails_N) / (tops_N + sums_N), 0.0)
    return tops_N * scales_N, others_M * scales_N[row_M], tails_N


def encode(rows: Rows, vocabulary: int) -> bytes:
    """The bytes of a trace's rows."""
    some_N = rows.counts_N > 0
    stated = some_N & (rows.tops_N != rows.targets_N)
    beside_N = np.maximum(rows.counts_N - 1, 0)
    raw = np.concatenate([rows.targets_N, rows.tops_N[stated]])
    listed = _listed(raw, rows.ids_M, beside_N, vocabulary)
    size = len(listed) or vocabulary
    ids_M = rows.ids_M
    if len(listed):
        raw, ids_M = np.searchsorted(listed, raw), np.searchsorted(listed, ids_M)
    # 1 is what most positions keep, and has the shortest code: so the two rare cases come behind the highest count
    most = int(rows.counts_N.max(initial=0))
    counts_N = np.where(rows.known_N, np.where(some_N, rows.counts_N, most + 1), most + 2)
    codes = np.concatenate([counts_N, rows.top_codes_N[some_N] + 1, rows.levels_M])
    classes = log2_floor(codes)
    gaps, rests, rest_widths = _gaps(np.append(ids_M, listed), np.append(beside_N, len(listed)), size, vocabulary)
    unary = pack_unary(np.concatenate([classes, gaps]))
    groups = [
        (codes - (1 << classes), classes),
        (stated[some_N].astype(np.int64), np.ones(int(some_N.sum()), dtype=np.int64)),
        (raw, np.full(len(raw), _width(size))),
        (rows.tails_N[some_N], np.full(int(some_N.sum()), 8)),
        (rests, rest_widths),
    ]
    fields = pack_fields(*(np.concatenate(parts) for parts in zip(*groups, strict=True)))
    return _HEAD.pack(len(rows.targets_N), len(listed), len(unary), most, rows.step) + unary + fields


def decode(data: NDArray[np.uint8], vocabulary: int) -> Rows:
    """The rows of `encode`."""
    positions, listed_size, unary_size, most, step = _HEAD.unpack_from(data.data)
    begin = _HEAD.size
    unary, fields = read_unary(data[begin : begin + unary_size]), Fields(data[begin + unary_size :])
    size = listed_size or vocabulary
    codes_N = (1 << unary[:positions]) + fields.take(unary[:positions])
    known_N = codes_N <= most + 1
    counts_N = np.where(codes_N <= most, codes_N, 0)
    some_N = counts_N > 0
    beside_N = np.maximum(counts_N - 1, 0)
    tops, others = int(some_N.sum()), int(beside_N.sum())
    classes = unary[positions : positions + tops + others]
    codes = (1 << classes) + fields.take(classes)
    stated = fields.take_equal(tops, 1).astype(bool)
    targets_N = fields.take_equal(positions, _width(size))
    tops_N = np.where(some_N, targets_N, 0)
    tops_N[np.flatnonzero(some_N)[stated]] = fields.take_equal(int(stated.sum()), _width(size))
    tails_N, top_codes_N = np.zeros(positions, dtype=np.int64), np.zeros(positions, dtype=np.int64)
    tails_N[some_N] = fields.take_equal(tops, 8)
    top_codes_N[some_N] = codes[:tops] - 1
    lengths = np.append(beside_N, listed_size)
    ids = _ungapped(unary[positions + tops + others :], fields, lengths, size, vocabulary)
    ids_M, listed = ids[:others], ids[others:]
    if listed_size:
        targets_N, ids_M = listed[targets_N], listed[ids_M]
        tops_N = np.where(some_N, listed[tops_N], 0)
    return Rows(step, targets_N, known_N, counts_N, tops_N, top_codes_N, tails_N, ids_M, codes[tops:])


def _width(size: int) -> int:
    return max(size - 1, 1).bit_length()


def _listed(raw: Ints, ids_M: Ints, beside_N: Ints, vocabulary: int) -> Ints:
    """The trace's own tokens, where a list of them pays for itself; else none."""
    tokens = np.unique(np.concatenate([raw, ids_M]))

    def bits(size: int) -> float:
        return float(_rice(beside_N, size) @ beside_N) + len(raw) * _width(size)

    spent = bits(len(tokens)) + len(tokens) * (2 + np.log2(vocabulary / max(len(tokens), 1))) if len(tokens) else 0
    return tokens if len(tokens) and spent < bits(vocabulary) else tokens[:0]


def _rice(lengths: Ints, size: int) -> Ints:
    """The Rice parameter for so many sorted ids below `size`: the number of bits that their mean gap has, less one
    (Golomb 1966; Rice and Plaunt 1971)."""
    return log2_floor(np.maximum(size // np.maximum(lengths, 1), 1))


def _parameters(lengths: Ints, size: int, vocabulary: int) -> Ints:
    """Of each row of ids below `size`, and, last, of the trace's own list."""
    return np.append(_rice(lengths[:-1], size), _rice(lengths[-1:], vocabulary))


def _gaps(ids: Ints, lengths: Ints, size: int, vocabulary: int) -> tuple[Ints, Ints, Ints]:
    """Unary parts, field parts and their widths for rows of sorted ids."""
    before = np.roll(ids, 1)
    before[(np.cumsum(lengths) - lengths)[lengths > 0]] = -1
    gaps = ids - before - 1
    widths = np.repeat(_parameters(lengths, size, vocabulary), lengths)
    return gaps >> widths, gaps & ((1 << widths) - 1), widths


def _ungapped(quotients: Ints, fields: Fields, lengths: Ints, size: int, vocabulary: int) -> Ints:
    widths = np.repeat(_parameters(lengths, size, vocabulary), lengths)
    steps = (quotients[: len(widths)] << widths) + fields.take(widths) + 1
    sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(steps)])
    ids: Ints = sums[1:] - np.repeat(sums[np.cumsum(lengths) - lengths], lengths) - 1
    return ids
