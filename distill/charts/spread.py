"""How numbers are spread: takes groups of them, gives a histogram of their outlines as SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from distill import charts
from distill.charts import Axis, Frame, Points

BINS = 36
WIDE = 20
"""From this ratio of the largest value to the smallest on the bins are of equal ratio, not of equal width."""


@dataclass(frozen=True)
class Group:
    """Numbers of one name, such as lengths in tokens; what is not finite is left out."""

    name: str
    values: ArrayLike


def histogram(groups: Sequence[Group], title: str, x_label: str) -> str:
    """The share of each group in every bin, in %, as outlines told apart by colour and by dashes; the legend has the
    groups' counts and medians. Where the values differ widely x is logarithmic, and what is below 1 counts as 1."""
    found = [charts.numbers(group.values) for group in groups]
    names = [_named(group.name, values) for group, values in zip(groups, found, strict=True)]
    shown = np.concatenate([*found, np.empty(0)])
    wide = bool(len(shown)) and shown.min() >= 0 and shown.max() >= WIDE * max(1.0, float(shown.min()))
    if wide:
        found, shown = [np.log10(values.clip(1)) for values in found], np.log10(shown.clip(1))
    x, edges = _logarithmic(shown) if wide else _linear(shown)
    shares = [100 * np.histogram(values, edges)[0] / max(len(values), 1) for values in found]
    y = Axis.over(np.array([0.0, *(float(share.max()) for share in shares)]), rounded=True)
    swatches, under = charts.legend(names, dashed=True)
    frame = Frame.around(x, y, under + 34)
    body = [*swatches, *frame.drawn(x_label, "% of each")]
    for at, share in enumerate(shares):
        if share.any():
            dash = charts.DASHES[at % len(charts.DASHES)]
            body.append(charts.path([_outline(frame, edges, share)], charts.colour(at), width=2, dash=dash))
    if not len(shown):
        middle = (frame.left + charts.RIGHT) / 2, (frame.top + charts.BOTTOM) / 2
        body.append(charts.text(*middle, "nothing to show yet", anchor="middle"))
    return charts.document(title, body)


def _outline(frame: Frame, edges: Points, share: Points) -> str:
    heights = np.array([0.0, *np.repeat(share, 2), 0.0])
    return charts.joined(frame.placed(np.stack([np.repeat(edges, 2), heights], axis=1)))


def _linear(values: Points) -> tuple[Axis, Points]:
    """The axis and the bins' edges. Bins of whole numbers hold equally many of them: each has its number in its middle,
    or in the middle of a few."""
    if not len(values) or (values != np.round(values)).any():
        axis = Axis.over(values, about=8, rounded=True)
        return axis, np.linspace(axis.low, axis.high, BINS + 1)
    low, high = float(values.min()), float(values.max())
    step = max(1, math.ceil((high - low) / BINS))
    edges = low - 0.5 + step * np.arange(math.floor((high - low) / step) + 2, dtype=np.float64)
    axis = Axis.over(values, about=8)
    ticks = [(at, label) for at, label in zip(axis.ticks, axis.labels, strict=True) if edges[0] <= at <= edges[-1]]
    places, labels = tuple(at for at, _ in ticks), tuple(label for _, label in ticks)
    return Axis(float(edges[0]), float(edges[-1]), places, labels), edges


def _logarithmic(logs: Points) -> tuple[Axis, Points]:
    """The same over logarithms to base 10, ticked at 1, 2 and 5 times a power of ten, or at the powers alone."""
    low, high = math.floor(10 * float(logs.min())) / 10, math.ceil(10 * float(logs.max())) / 10
    factors = (1, 2, 5) if high - low < 4 else (1,)
    values = [factor * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for factor in factors]
    ticks = [value for value in values if low <= math.log10(value) <= high]
    axis = Axis(low, high, tuple(map(math.log10, ticks)), tuple(f"{value:,.0f}" for value in ticks))
    return axis, np.linspace(low, high, BINS + 1)


def _named(name: str, values: Points) -> str:
    return f"{name} ({len(values):,}, median {np.median(values):,.0f})" if len(values) else f"{name} (none)"
