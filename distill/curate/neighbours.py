"""Which MinHash signatures are near each other: rows of signatures in, in an order of preference, and for one at a time
the later ones near it out.

A row is told by its place in that order. Rows are compared within groups only. In groups of up to 64 every pair is
compared. In larger ones those that agree in a band of their signatures are (Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", section 3.4): bands of such a size that 99 of 100 pairs at the threshold agree in one. Among very
many in a band the search for more ends where 256 in a row are not near, so that no input makes it quadratic.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from distill.curate.candidates import Numbers, Places, Sketches

ALONE = -1
"""The group of a row that is compared with none."""

_SMALL = 64
_AT_ONCE = 256
_PAIRS_AT_ONCE = 1 << 15
_FOUND = 0.99
_MIX = np.uint64(0x9E3779B97F4A7C15)
_TEMPLATE_BANDS, _TEMPLATE_WIDTH = 12, 6

Flags = npt.NDArray[np.bool_]


class Neighbours:
    """Finds what is near a row. `rows` says where in `sketches` the rows are, best first; `groups` which group each is
    of; `threshold` is the share of equal values from which on two are near."""

    def __init__(self, sketches: Sketches, rows: Places, groups: Places, threshold: float) -> None:
        self._sketches, self._rows, self._threshold = sketches, rows, threshold
        runs = [run for run in self._runs(groups) if len(run)]
        self._members = np.concatenate([np.empty(0, np.int64), *runs])
        self._lengths = np.array([len(run) for run in runs], np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        of_run = np.repeat(np.arange(len(runs)), self._lengths)
        self._runs_of = of_run[np.argsort(self._members, kind="stable")]
        self._first_run = np.concatenate([[0], np.cumsum(np.bincount(self._members, minlength=len(rows)))])

    @property
    def places(self) -> Places:
        """The rows that may be near another, in order."""
        return np.flatnonzero(np.diff(self._first_run))

    def take(self, at: int, taken: Flags) -> tuple[Places, npt.NDArray[np.float64]]:
        """The rows near the one at a place that are not taken, with their similarities; now they are taken."""
        found, similar = [np.empty(0, np.int64)], [np.empty(0)]
        for run in self._runs_of[self._first_run[at] : self._first_run[at + 1]]:
            for some in self._alive(int(run), taken):
                share = (self._sketches[self._rows[some]] == self._sketches[self._rows[at]]).mean(axis=1)
                hits = share >= self._threshold
                if not hits.any():
                    break
                taken[some[hits]] = True
                found.append(some[hits])
                similar.append(share[hits])
        return np.concatenate(found), np.concatenate(similar)

    def _alive(self, run: int, taken: Flags) -> Iterator[Places]:
        """The members of a run that are not taken, some at a time. Where half of its first ones are taken, those that
        are get thrown out of it for good."""
        start, length = self._starts[run], self._lengths[run]
        members = self._members[start : start + length]
        if 2 * taken[members[:_AT_ONCE]].sum() >= min(length, _AT_ONCE):
            left = members[~taken[members]]
            self._lengths[run] = len(left)
            members[: len(left)] = left
            members = members[: len(left)]
        for begin in range(0, len(members), _AT_ONCE):
            some = members[begin : begin + _AT_ONCE]
            some = some[~taken[some]]
            if len(some):
                yield some

    def _runs(self, groups: Places) -> Iterator[Places]:
        """Sets of rows to be compared, each in order."""
        members = np.flatnonzero(groups != ALONE)
        members = members[np.argsort(groups[members], kind="stable")]
        starts, sizes = _stretches(groups[members])
        small = (sizes > 1) & (sizes <= _SMALL)
        for start, size in self._with_pairs(members, starts[small], sizes[small]):
            yield members[start : start + size]
        large = np.repeat(sizes > _SMALL, sizes)
        if large.any():
            yield from self._banded(members[large], groups[members[large]])

    def _with_pairs(self, members: Places, starts: Places, sizes: Places) -> Iterator[tuple[int, int]]:
        """The small groups that hold a near pair at all; all their pairs are compared, at one distance at a time."""
        hot = np.zeros(len(starts), np.bool_)
        for distance in range(1, int(sizes.max(initial=1))):
            longer = np.flatnonzero((sizes > distance) & ~hot)
            counts = sizes[longer] - distance
            group = np.repeat(longer, counts)
            one = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts) + starts[group]
            for begin in range(0, len(one), _PAIRS_AT_ONCE):
                some = slice(begin, begin + _PAIRS_AT_ONCE)
                pair = (self._rows[members[one[some]]], self._rows[members[one[some] + distance]])
                share = (self._sketches[pair[0]] == self._sketches[pair[1]]).mean(axis=1)
                hot[group[some][share >= self._threshold]] = True
        return zip(starts[hot].tolist(), sizes[hot].tolist(), strict=True)

    def _banded(self, members: Places, groups: Places) -> Iterator[Places]:
        """Those of the same group that agree in a band."""
        in_order = np.argsort(members)
        members, groups = members[in_order], groups[in_order]
        width = band_width(self._threshold, self._sketches.shape[1])
        for begin in range(0, self._sketches.shape[1] - width + 1, width):
            keys = _band(self._sketches, self._rows[members], slice(begin, begin + width), groups.astype(np.uint64))
            order = np.argsort(keys, kind="stable")
            starts, sizes = _stretches(keys[order])
            for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
                yield members[order[start : start + size]]


def band_width(threshold: float, permutations: int) -> int:
    """The most values in a band with which 99 of 100 pairs at the threshold agree in one of the bands."""
    widths = range(permutations, 0, -1)
    return next((width for width in widths if 1 - (1 - threshold**width) ** (permutations // width) >= _FOUND), 1)


def templates(sketches: Sketches, rows: Places, keys: Places, others: int) -> Flags:
    """Which rows are made from a template: those with which, in one of 12 bands of 6 values, rows of so many `others`
    of the keys agree. Of pairs with a similarity of 0.7, three quarters agree in one; with 0.4, one in twenty."""
    found = np.zeros(len(rows), np.bool_)
    salt = np.zeros(len(rows), np.uint64)
    for begin in range(0, _TEMPLATE_BANDS * _TEMPLATE_WIDTH, _TEMPLATE_WIDTH):
        bands = _band(sketches, rows, slice(begin, begin + _TEMPLATE_WIDTH), salt)
        order = np.lexsort((keys, bands))
        starts, sizes = _stretches(bands[order])
        other = np.ones(len(rows), np.int64)
        other[1:] = keys[order][1:] != keys[order][:-1]
        other[starts] = 0
        siblings = np.add.reduceat(other, starts) if len(starts) else other
        found[order[np.repeat(siblings >= others, sizes)]] = True
    return found


def grouped(columns: Numbers) -> Places:
    """For rows of numbers the number of the group of each: equal rows are of one group."""
    order = np.lexsort(columns.T)
    ordered = columns[order]
    changes = np.zeros(len(columns), np.int64)
    changes[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    groups = np.empty(len(columns), np.int64)
    groups[order] = np.cumsum(changes)
    return groups


def firsts(groups: Places) -> Places:
    """For the numbers of groups the first place of each."""
    first = np.zeros(int(groups.max(initial=-1)) + 1, np.int64)
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first


def _band(sketches: Sketches, rows: Places, band: slice, salt: Numbers) -> Numbers:
    keys = salt.copy()
    for value in np.ascontiguousarray(sketches[:, band])[rows].T:
        keys = (keys ^ value) * _MIX
        keys ^= keys >> np.uint64(29)
    return keys


def _stretches(ordered: npt.NDArray[np.generic]) -> tuple[Places, Places]:
    """Where each stretch of equal values begins, and how long it is."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.empty(0, int)
    return starts, np.diff(np.append(starts, len(ordered)))
