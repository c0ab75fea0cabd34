"""Charts: valid XML whatever the numbers and names are, axes that a person can read, and no more than can be seen."""

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from distill.charts import Axis, Series, line_chart

SVG = "{http://www.w3.org/2000/svg}"
FALLING = [(step, 2.0 / step) for step in range(1, 101)]


def parsed(series: list[Series], title: str = "Loss") -> ElementTree.Element:
    return ElementTree.fromstring(line_chart(series, title, "step", "nats per token"))


def texts(chart: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in chart.iter(f"{SVG}text")]


def paths(chart: ElementTree.Element) -> list[str]:
    """What is drawn of the data: the paths after the legend's swatches."""
    return [one.attrib["d"] for one in chart.iter(f"{SVG}path") if one.attrib["stroke-width"] != "4"]


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@pytest.mark.parametrize(
    ("values", "about", "labels"),
    [
        ([0, 1], 5, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.31, 2.04], 6, ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]),
        ([-3e-5, 4e-5], 6, ["-4e-5", "-2e-5", "0", "2e-5", "4e-5"]),
        ([1e7, 3e7], 4, ["1e7", "1.5e7", "2e7", "2.5e7", "3e7"]),
        ([0.3, 0.3], 6, ["0.27", "0.28", "0.29", "0.30", "0.31", "0.32", "0.33"]),
    ],
)
def test_ticks_are_round_and_hold_all_values(values: list[float], about: int, labels: list[str]) -> None:
    axis = Axis.over(np.array(values, dtype=np.float64), about=about, rounded=True)
    assert axis.low <= min(values) and axis.high >= max(values)
    assert list(axis.labels) == labels


def test_steps_have_whole_ticks_and_no_margin() -> None:
    axis = Axis.over(np.array([1.0, 2.0, 3.0]))
    assert (axis.low, axis.high, axis.labels) == (1, 3, ("1", "2", "3"))
    assert Axis.over(np.array([1.0, 250_000.0])).labels[-1] == "250,000"


def test_points_lie_where_their_ticks_are() -> None:
    chart = parsed([Series("a", [(0, 0.0), (10, 1.0)])])
    line, _ = paths(chart)
    (left, bottom), (right, top) = places(line)
    ticks = {one.text: one.attrib for one in chart.iter(f"{SVG}text")}
    assert float(ticks["0"]["x"]) == left and float(ticks["10"]["x"]) == right
    assert float(ticks["0.0"]["y"]) == bottom + 4 and float(ticks["1.0"]["y"]) == top + 4


def test_hostile_names_are_text() -> None:
    name = "</text><script>alert(1)</script>&\"'\x00\x1b[2J"
    chart = parsed([Series(name, FALLING)], title=name)
    assert {one.tag.removeprefix(SVG) for one in chart.iter()} == {"svg", "title", "text", "line", "path"}
    assert texts(chart).count(name.replace("\x00", " ").replace("\x1b", " ")) == 2
    assert chart.attrib["viewBox"] == "0 0 720 400"


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(1, 0.0)], [(1, math.nan)], [(1, 1e308), (2, -1e308)]])
@pytest.mark.parametrize("noisy", [True, False])
def test_hardly_any_points_make_a_chart_too(points: list[tuple[float, float]], noisy: bool) -> None:
    chart = parsed([Series("loss", points, noisy)])
    finite = [y for _, y in points if abs(y) < 1e300]
    assert ("nothing to show yet" in texts(chart)) == (not finite)
    assert all(0 <= x <= 720 and 0 <= y <= 400 for path in paths(chart) for x, y in places(path))
    assert any(places(path) for path in paths(chart)) == bool(finite)


def test_what_is_no_number_is_a_gap() -> None:
    points = [(step, math.nan if 40 <= step < 50 else 1.0 + step) for step in range(100)]
    line = next(path for path in paths(parsed([Series("loss", points)])) if "L" in path)
    assert line.count("M") == 2 and len(places(line)) == 90


def test_a_noisy_series_is_faint_points_under_a_smooth_line() -> None:
    points = [(step, 1.0 + 0.5 * (-1) ** step) for step in range(400)]
    faint, line = paths(parsed([Series("loss", points, noisy=True)]))
    assert faint.count("M") == 400 and line.count("M") == 1
    raw, smooth = ([y for _, y in places(path)] for path in (faint, line))
    middle = smooth[20:-20]
    assert max(middle) - min(middle) < 0.06 * (max(raw) - min(raw))
    assert sum(middle) / len(middle) == pytest.approx(sum(raw) / len(raw), abs=0.5)


def test_a_hundred_thousand_points_are_thinned_and_a_spike_stays() -> None:
    points = [(step, 9.0 if step == 60_000 else 1.0 + 0.1 * (step % 7)) for step in range(100_000)]
    text = line_chart([Series("loss", points, noisy=True)], "Loss", "step", "nats per token")
    band = paths(ElementTree.fromstring(text))[0]
    assert len(text) < 100_000 and len(places(band)) < 4 * 720
    across, up = min(places(band), key=lambda place: place[1])
    assert across == pytest.approx(34 + 0.6 * 662, abs=10)
    assert sum(y < up + 20 for _, y in places(band)) == 1
