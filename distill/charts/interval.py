"""What was found against what was asked for: takes intervals with their thresholds, gives one SVG of them all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from distill import charts
from distill.charts import Axis
from distill.records import Outcome

ROW = 22  # high
LABEL = 38  # letters; a longer name shows when it is pointed at
LEFT, RIGHT = 282, 580  # where the scale begins and ends
COLOURS: dict[Outcome, str] = {"pass": "#2f8f4e", "fail": "#cf4a42", "undecided": "#b57614"}
SIGNS: dict[Outcome, str] = {"pass": "✓", "fail": "✗", "undecided": "?"}


@dataclass(frozen=True)
class Interval:
    """What was found with its bounds, and the threshold that they are held against: the least that will do (`least`),
    or the most. `verdict` is written beside it. What is not finite is not drawn."""

    name: str
    low: float
    middle: float
    high: float
    threshold: float
    least: bool
    outcome: Outcome
    verdict: str


def intervals(panels: Sequence[tuple[str, Sequence[Interval]]], title: str) -> str:
    """The SVG text of panels, each with the name of what is measured, its intervals, and a scale of its own. A band
    lies over what the threshold allows; the outcome is told by form, colour and word alike."""
    body: list[str] = []
    y = 58.0
    for name, rows in panels:
        body += _panel(name, rows, y)
        y += 12 + ROW * len(rows) + 48
    return charts.document(title, body, height=round(y))


def _panel(name: str, rows: Sequence[Interval], y: float) -> Iterator[str]:
    bounds = [value for one in rows for value in (one.low, one.middle, one.high, one.threshold)]
    axis, bottom = Axis.over(charts.numbers(bounds), rounded=True), y + 12 + ROW * len(rows)
    yield charts.text(14, y, name, size=13)
    for value, label in zip(axis.ticks, axis.labels, strict=True):
        at = float(axis.place(np.array([value]), LEFT, RIGHT)[0])
        yield charts.rule(at, y + 10, at, bottom, 0.2)
        yield charts.text(at, bottom + 15, label, anchor="middle", size=11)
    for number, one in enumerate(rows):
        yield charts.group(one.name, _row(axis, one, y + 12 + ROW * (number + 0.5)))


def _row(axis: Axis, one: Interval, y: float) -> Iterator[str]:
    """A row: its name, the allowed band, the interval with its middle, and the verdict."""
    label = one.name if len(one.name) <= LABEL else f"{one.name[: LABEL - 1]}…"
    yield charts.text(14, y + 4, label)
    limit = _across(axis, one.threshold)
    if limit is not None:
        left, right = (limit, RIGHT) if one.least else (LEFT, limit)
        yield charts.path([f"M{left:.1f} {y:.1f}H{right:.1f}"], charts.INK, width=14, opacity=0.18, ends="butt")
        yield charts.path([f"M{limit:.1f} {y - 9:.1f}v18"], charts.INK, width=2)
    low, middle, high = (_across(axis, value) for value in (one.low, one.middle, one.high))
    if low is not None and high is not None:
        yield charts.path([f"M{low:.1f} {y:.1f}H{high:.1f}"], COLOURS[one.outcome], width=3)
    if middle is not None:
        yield _mark(one.outcome, middle, y)
    yield charts.text(RIGHT + 14, y + 4, f"{SIGNS[one.outcome]} {one.verdict}")


def _mark(outcome: Outcome, x: float, y: float) -> str:
    """A disc for what passed, a cross for what failed, a ring for what is undecided."""
    if outcome == "fail":
        arms = [f"M{x - 5:.1f} {y - 5:.1f}l10 10", f"M{x - 5:.1f} {y + 5:.1f}l10 -10"]
        return charts.path(arms, COLOURS[outcome], width=3)
    if outcome == "pass":
        return charts.path([f"M{x:.1f} {y:.1f}h0"], COLOURS[outcome], width=11)
    ring = f"M{x - 5:.1f} {y:.1f}a5 5 0 1 0 10 0a5 5 0 1 0 -10 0"
    return charts.path([ring], COLOURS[outcome], width=3)


def _across(axis: Axis, value: float) -> float | None:
    """Where a value lies on the scale; None for what is no number."""
    found = charts.numbers([value])
    return float(axis.place(found, LEFT, RIGHT)[0]) if len(found) else None
