"""Charts as SVG: takes numbers and their names, gives the text of an image that scales. Lines are drawn here, spreads
and intervals in the modules beside.

There is no script in it and nothing is loaded from elsewhere, its colours read on light and on dark ground, and every
text is escaped. Lengths are in the view box's units, `WIDTH` across; arrays are points_N2 (N points, x and y).
"""

import html
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]

WIDTH, HEIGHT = 720, 400
RIGHT, BOTTOM = WIDTH - 24, HEIGHT - 50  # where the drawing ends
INK = "#767676"  # 4.5 to 1 on white, 4.6 to 1 on black
COLOURS = ("#3b7fc4", "#c8691c", "#3a9a5b", "#a45fb8")
DASHES = ("", "9 5", "2 5", "12 5 2 5", "5 3", "1 3")
SMOOTHED = 1 / 20  # the share of the points on which a smoothed one rests
HUGE = 1e300  # from here on a number is none, so that a difference of two is always finite
LETTERS = 200  # a longer text would leave the picture
GAPS = 200  # more gaps than these are not shown
MARKS = 100  # more marks than these would hide the line
DENSE = 2 * WIDTH  # from here on points are joined to a band, and those that nobody could see left out


@dataclass(frozen=True)
class Series:
    """Points (x, y) of one name, in the order of x; what is not finite is a gap. `noisy` ones are drawn faint, under a
    line through the mean of their neighbours; others as a line with a mark at every point, unless they are many."""

    name: str
    points: Sequence[tuple[float, float]]
    noisy: bool = False


@dataclass(frozen=True)
class Axis:
    """A range of values with its ticks and what is written at them."""

    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    @classmethod
    def over(cls, values: Points, *, about: int = 6, rounded: bool = False) -> "Axis":
        """The axis over finite values, with some `about` ticks at 1, 2, 2.5 or 5 times a power of ten.

        `rounded` extends it to whole ticks. Where all values are whole numbers, so are the ticks; where all are the
        same, or there is none, the axis is as wide as is sensible around them.
        """
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        whole = bool(values.size) and max(abs(low), abs(high)) < 2**53 and bool((values == np.round(values)).all())
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            margin = 1.0 if whole else 0.1 * abs(low) or 1.0
            low, high = low - margin, high + margin
        step = _step((high - low) / about, whole and not rounded)
        if rounded:
            low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
        numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        ticks = tuple(number * step for number in numbers)
        return cls(low, high, ticks, tuple(_label(tick, step) for tick in ticks))

    def place(self, values: Points, start: float, end: float) -> Points:
        """Where values lie between two ends of the drawing."""
        return start + (values - self.low) / (self.high - self.low) * (end - start)


@dataclass(frozen=True)
class Frame:
    """Two axes and the area between them; `top` and `left` are its corner."""

    x: Axis
    y: Axis
    top: float
    left: float

    @classmethod
    def around(cls, x: Axis, y: Axis, top: float) -> "Frame":
        """With as much room on the left as the labels of y need."""
        return cls(x, y, top, 20 + max(map(_width, y.labels), default=0.0))

    def placed(self, points_N2: Points) -> Points:
        """Points of the data as points of the drawing."""
        across = self.x.place(points_N2[:, 0], self.left, RIGHT)
        return np.stack([across, self.y.place(points_N2[:, 1], BOTTOM, self.top)], axis=1)

    def drawn(self, x_label: str, y_label: str) -> Iterator[str]:
        """Grid, ticks and labels; what y is stands over its axis, so that nobody has to tilt the head."""
        for value, label in zip(self.y.ticks, self.y.labels, strict=True):
            at = float(self.y.place(np.array([value]), BOTTOM, self.top)[0])
            yield rule(self.left, at, RIGHT, at, 0.25)
            yield text(self.left - 8, at + 4, label, anchor="end")
        for value, label in zip(self.x.ticks, self.x.labels, strict=True):
            at = float(self.x.place(np.array([value]), self.left, RIGHT)[0])
            yield rule(at, BOTTOM, at, BOTTOM + 5, 1)
            yield text(at, BOTTOM + 19, label, anchor="middle")
        yield rule(self.left, BOTTOM, RIGHT, BOTTOM, 1)
        yield text((self.left + RIGHT) / 2, HEIGHT - 10, x_label, anchor="middle")
        yield text(14, self.top - 14, y_label)


def line_chart(series: Sequence[Series], title: str, x_label: str, y_label: str) -> str:
    """The SVG text of lines over a common x, with a legend; at most some thousand points are drawn of any series."""
    points = [np.array(one.points, dtype=np.float64).reshape(-1, 2) for one in series]
    shown = np.concatenate([_finite(points_N2) for points_N2 in points] or [np.empty((0, 2))])
    names, under = legend([one.name for one in series])
    frame = Frame.around(Axis.over(shown[:, 0], about=8), Axis.over(shown[:, 1], rounded=True), under + 34)
    body = [*names, *frame.drawn(x_label, y_label)]
    for at, (one, points_N2) in enumerate(zip(series, points, strict=True)):
        body += _series(frame, points_N2, colour(at), one.noisy)
    if not len(shown):
        body.append(text((frame.left + RIGHT) / 2, (frame.top + BOTTOM) / 2, "nothing to show yet", anchor="middle"))
    return document(title, body)


def document(title: str, body: Iterable[str], height: int = HEIGHT) -> str:
    """A whole SVG document around what is drawn, with its title above."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            'font-family="system-ui, sans-serif" font-size="12">',
            f"<title>{_escaped(title)}</title>",
            text(14, 24, title, size=15),
            *body,
            "</svg>\n",
        ]
    )


def group(title: str, body: Iterable[str]) -> str:
    """What is drawn together, with a text that shows when it is pointed at."""
    return f"<g><title>{_escaped(title)}</title>{''.join(body)}</g>"


def text(x: float, y: float, content: str, *, anchor: str = "start", size: int = 12) -> str:
    """A line of text, whose base line starts, ends or has its middle at (x, y)."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}" font-size="{size}">'
        f"{_escaped(content)}</text>"
    )


def _series(frame: Frame, points_N2: Points, look: str, noisy: bool) -> Iterator[str]:
    runs = _runs(points_N2)
    if noisy:
        raw = [_thinned(frame.placed(run)) for run in runs]
        dense = len(points_N2) > DENSE
        yield path(map(joined if dense else _spots, raw), look, width=1 if dense else 3, opacity=0.35 if dense else 0.5)
        runs = [_smoothed(run) for run in runs]
    lines = [_thinned(frame.placed(run)) for run in runs]
    yield path(map(joined, lines), look, width=2)
    marked = [run for run in lines if len(run) == 1 or (not noisy and len(run) <= MARKS)]
    if marked:
        yield path(map(_spots, marked), look, width=6)


def path(
    parts: Iterable[str], colour: str, *, width: int, opacity: float = 1, dash: str = "", ends: str = "round"
) -> str:
    """Lines of one look. Round ends make a dot of a line that has no length."""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{" ".join(parts)}" fill="none" stroke="{colour}" stroke-width="{width}" '
        f'stroke-opacity="{opacity:g}"{dashes} stroke-linecap="{ends}" stroke-linejoin="round"/>'
    )


def _spots(points_N2: Points) -> str:
    return " ".join(f"M{x:.1f} {y:.1f}h0" for x, y in points_N2)


def joined(points_N2: Points) -> str:
    """Points as a line from each to the next."""
    if len(points_N2) == 1:
        return _spots(points_N2)
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points_N2)


def rule(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    """A thin straight line in the colour of the texts."""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{INK}" stroke-opacity="{opacity:g}"/>'
    )


def legend(names: Sequence[str], *, dashed: bool = False) -> tuple[list[str], float]:
    """A swatch and a name for every series, in as many rows as it takes; and the base line of the last row."""
    drawn: list[str] = []
    x, y, room = 14.0, 46.0, 46 if dashed else 22
    for at, name in enumerate(names):
        wide = room + _width(name) + 18
        if x > 14 and x + wide > RIGHT:
            x, y = 14.0, y + 18
        swatch = [f"M{x + 2:.1f} {y - 4:.1f}h{room - 10}"]
        drawn.append(
            path(swatch, colour(at), width=2 if dashed else 4, dash=DASHES[at % len(DASHES)] if dashed else "")
        )
        drawn.append(text(x + room, y, name))
        x += wide
    return drawn, y


def colour(at: int) -> str:
    """The colour of the group or series number `at`."""
    return COLOURS[at % len(COLOURS)]


def numbers(values: ArrayLike) -> Points:
    """The finite ones of some values, in one row."""
    array = np.asarray(values, dtype=np.float64).reshape(-1)
    return array[np.abs(array) < HUGE]


def _finite(points_N2: Points) -> Points:
    return points_N2[_good(points_N2)]


def _good(points_N2: Points) -> NDArray[np.bool_]:
    """Which points are finite: a NaN is not less than anything."""
    return np.asarray((np.abs(points_N2) < HUGE).all(axis=1), dtype=np.bool_)


def _runs(points_N2: Points) -> list[Points]:
    """The stretches between gaps."""
    good = _good(points_N2)
    cuts = np.flatnonzero(good[1:] != good[:-1]) + 1
    if len(cuts) > GAPS:
        return [points_N2[good]]
    return [run for run in map(_finite, np.split(points_N2, cuts)) if len(run)]


def _smoothed(points_N2: Points) -> Points:
    """Each y as the mean of its neighbours: as many before it as after it, and fewer after it at the end, where a curve
    is flat; at the start, where it is steep, both are fewer, so that it is not flattened."""
    count = len(points_N2)
    places = np.arange(count)
    half = np.minimum(places, math.ceil(count * SMOOTHED / 2) if count > 2 else 0)
    first, last = places - half, np.minimum(places + half, count - 1)
    mean = points_N2[:, 1].mean()
    sums = np.concatenate([[0.0], np.cumsum(points_N2[:, 1] - mean)])  # about the mean: sums of like size lose digits
    return np.stack([points_N2[:, 0], mean + (sums[last + 1] - sums[first]) / (last + 1 - first)], axis=1)


def _thinned(points_N2: Points) -> Points:
    """Of the points in one column of the drawing the first, the last, the highest and the lowest: it looks the same."""
    if len(points_N2) <= DENSE:
        return points_N2
    edges = [0, *(np.flatnonzero(np.diff(np.floor(points_N2[:, 0]))) + 1).tolist(), len(points_N2)]
    kept: list[int] = []
    for first, end in itertools.pairwise(edges):
        heights_N = points_N2[first:end, 1]
        kept += sorted({first, end - 1, first + int(heights_N.argmin()), first + int(heights_N.argmax())})
    return points_N2[kept]


def _step(least: float, whole: bool) -> float:
    """The smallest round step that is not smaller."""
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
    if not whole:
        return step
    return 5.0 if step == 2.5 else max(1.0, step)


def _label(value: float, step: float) -> str:
    if abs(value) >= 1e7 or step < 1e-4:
        return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e")
    decimals = next(places for places in range(8) if math.isclose(round(step, places), step, rel_tol=1e-6))
    return f"{value:,.{decimals}f}"


def _width(label: str) -> float:
    """About how wide a text of size 12 is."""
    return sum(12.5 if ord(letter) > 0x2E80 else 6.7 for letter in label)


def _escaped(content: str) -> str:
    """Markup as text, of `LETTERS` at most; what XML cannot hold, or what is not seen, as a space."""
    short = content if len(content) <= LETTERS else f"{content[: LETTERS - 1]}…"
    return html.escape("".join(letter if letter.isprintable() else " " for letter in short))
