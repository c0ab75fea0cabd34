"""Many small whole numbers to bytes and back, all at once: takes arrays, gives bytes; no loop over the numbers.

Two forms: unary (so many zeros, then a one) for numbers that are mostly 0 or 1, and fields of a stated width. Gamma
codes and Rice codes are a unary part and a field part each, so that these two suffice for both.
"""

import numpy as np
from numpy.typing import NDArray

MAX_WIDTH = 24
"""Bits: a field that begins anywhere in a byte then lies within four bytes."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def pack_unary(values_M: Ints) -> bytes:
    """Each value as that many zeros and a one."""
    ends_M = np.cumsum(values_M + 1)
    bits = np.zeros(int(ends_M[-1]) if len(ends_M) else 0, dtype=np.uint8)
    bits[ends_M - 1] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def read_unary(data: NDArray[np.uint8]) -> Ints:
    """The values of `pack_unary`."""
    ones_M = np.flatnonzero(np.unpackbits(data, bitorder="little"))
    return np.diff(ones_M, prepend=-1) - 1


def pack_fields(values_M: Ints, widths_M: Ints) -> bytes:
    """Each value in its width, the lowest bit first; a width may be 0, for a value of 0."""
    starts_M = np.cumsum(widths_M) - widths_M
    total = int(widths_M.sum())
    within = np.arange(total) - np.repeat(starts_M, widths_M)
    bits = (np.repeat(values_M, widths_M) >> within) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


class Fields:
    """Reads fields one group after another; past the end of the data they are zeros."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        padded = np.concatenate([data, np.zeros(8, dtype=np.uint8)])
        self._windows: NDArray[np.uint32] = np.ndarray((len(data) + 4,), "<u4", padded.data, strides=(1,))
        self._bit = 0

    def take(self, widths_M: Ints) -> Ints:
        """The next values, of these widths each."""
        ends_M = self._bit + np.cumsum(widths_M)
        starts_M = ends_M - widths_M
        if len(ends_M):
            self._bit = int(ends_M[-1])
        windows_M = self._windows[np.minimum(starts_M >> 3, len(self._windows) - 1)].astype(np.int64)
        values_M: Ints = (windows_M >> (starts_M & 7)) & ((1 << widths_M) - 1)
        return values_M

    def take_equal(self, count: int, width: int) -> Ints:
        """The next `count` values of one width."""
        return self.take(np.full(count, width, dtype=np.int64))


def log2_floor(values: Ints) -> Ints:
    """The place of the highest bit of whole numbers from 1 to 2^53, exactly."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64) - 1
