"""Charts: valid XML whatever the numbers and names are, axes that a person can read, and no more than can be seen."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from distill.charts import Axis, Series, line_chart
from distill.charts.interval import Interval, intervals
from distill.charts.spread import Group, histogram

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


def test_a_histogram_has_shares_counts_and_medians_of_every_group() -> None:
    chart = ElementTree.fromstring(histogram([Group("base", [10] * 3 + [20]), Group("none", [])], "Lengths", "tokens"))
    assert {"base (4, median 10)", "none (none)", "tokens", "% of each"} <= set(texts(chart))
    [outline] = [
        one for one in chart.iter(f"{SVG}path") if one.attrib["stroke-width"] == "2" and "L" in one.attrib["d"]
    ]
    ticks = {
        one.text: float(one.attrib["y"]) - 4 for one in chart.iter(f"{SVG}text") if one.attrib["text-anchor"] == "end"
    }
    heights = sorted({y for _, y in places(outline.attrib["d"])})
    assert heights[-1] == ticks["0"]
    unit = (ticks["0"] - ticks["20"]) / 20
    assert [round((ticks["0"] - y) / unit) for y in heights] == [75, 25, 0]


def test_whole_numbers_in_a_narrow_range_leave_no_gaps() -> None:
    chart = ElementTree.fromstring(histogram([Group("base", list(range(28, 41)))], "Lengths", "tokens"))
    [outline] = [one for one in chart.iter(f"{SVG}path") if "L" in one.attrib["d"]]
    assert len({y for _, y in places(outline.attrib["d"])}) == 2  # the floor, and one height for each of 13 numbers
    across = {one.text: float(one.attrib["x"]) for one in chart.iter(f"{SVG}text")}
    corners = [x for x, _ in places(outline.attrib["d"])]
    assert min(corners) < across["28"] < across["40"] < max(corners)


def test_lengths_that_differ_widely_stand_on_a_logarithmic_axis() -> None:
    chart = ElementTree.fromstring(histogram([Group("base", [0, 50, 800, 30_000])], "Lengths", "tokens"))
    across = {one.text: float(one.attrib["x"]) for one in chart.iter(f"{SVG}text")}
    assert across["100"] - across["10"] == pytest.approx(across["10,000"] - across["1,000"], abs=0.2)
    assert "base (4, median 425)" in texts(chart)


def test_groups_are_told_apart_without_colour() -> None:
    groups = [Group(f"model {at}", range(10 + at, 40 + at)) for at in range(6)]
    chart = ElementTree.fromstring(histogram(groups, "Lengths", "tokens"))
    drawn = [one.attrib.get("stroke-dasharray", "") for one in chart.iter(f"{SVG}path")]
    assert len(drawn) == 12 and len(set(drawn)) == 6 and drawn[:6] == drawn[6:]


@pytest.mark.parametrize("values", [[], [5], [0], [math.nan, math.inf, 3], [-1, 2], [1e308, -1e308], range(100_000)])
def test_any_lengths_make_a_histogram(values: list[float]) -> None:
    text = histogram([Group("</text><script>\x00", values)], "t" * 1000, "tokens")
    chart = ElementTree.fromstring(text)
    assert len(text) < 12_000 and not list(chart.iter("script"))
    assert all(0 <= x <= 720 and 0 <= y <= 400 for path in paths(chart) for x, y in places(path))


def interval(**changed: object) -> Interval:
    usual = Interval("gsm8k", 0.6, 0.7, 0.8, 0.65, least=True, outcome="undecided", verdict="undecided")
    return replace(usual, **changed)  # type: ignore[arg-type]


def test_an_interval_lies_between_its_bounds_and_its_band_on_the_allowed_side() -> None:
    rows = [interval(), interval(least=False, outcome="fail", verdict="waived")]
    chart = ElementTree.fromstring(intervals([("score, at least", rows)], "The gate"))
    across = {one.text: float(one.attrib["x"]) for one in chart.iter(f"{SVG}text") if one.attrib["font-size"] == "11"}
    spans = [
        [float(number) for number in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", one.attrib["d"])[0]]
        for one in chart.iter(f"{SVG}path")
        if "H" in one.attrib["d"]
    ]
    above, first, below, second = spans
    assert first == second == [across["0.60"], across["0.80"]]
    assert above == [across["0.65"], 580] and below == [282, across["0.65"]]
    assert {"? undecided", "✗ waived", "score, at least"} <= set(texts(chart))


def test_outcomes_have_forms_of_their_own_and_pictures_grow_with_their_rows() -> None:
    one = [interval(outcome=outcome) for outcome in ("pass", "fail", "undecided")]
    chart = ElementTree.fromstring(intervals([("a", one), ("b", one * 20)], "The gate"))
    marks = {re.sub(r"[\d. -]+", "", row[-2].attrib["d"]) for row in chart.iter(f"{SVG}g")}
    assert len(marks) == 3
    height = float(chart.attrib["viewBox"].split()[3])
    starts = [float(y) for path in paths(chart) for y in re.findall(r"M[\d.]+ ([\d.]+)", path)]
    assert height > 22 * 63 and len(starts) > 63 and 0 < min(starts) < max(starts) < height


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0])
def test_bounds_that_are_no_numbers_are_not_drawn(value: float) -> None:
    rows = [interval(low=value, middle=value, high=value, threshold=value, name="<script>\ud800" * 50)]
    text = intervals([("a", rows)], "The gate")
    assert not list(ElementTree.fromstring(text).iter("script")) and "nan" not in text and "inf" not in text
    text.encode()


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
