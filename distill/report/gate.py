"""The gate's checks: takes a run's state, gives each variant's as intervals against thresholds, and as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill import pages
from distill.charts.interval import Interval, intervals
from distill.pages import Column, Content, Html, element
from distill.records import Check, GateReport
from distill.report.state import State
from distill.report.words import missing, outcome

ROWS = 120
"""Checks in a picture; those that did not pass come first where there are more."""


@dataclass(frozen=True)
class _Panel:
    """Checks that share a unit. `factor` turns their numbers into it."""

    name: str
    holds: Callable[[str], bool]
    factor: float = 100.0
    least: bool = False


SHARES = ("unfinished", "unverified", "repetition", "unboxed")
PANELS = (
    _Panel("score in %, at least", lambda term: term == "floor", least=True),
    _Panel("fallen behind, in points of 100, at most", lambda term: term.startswith("drop")),
    _Panel("share of the samples in % (unboxed: of the finished ones), at most", lambda term: term in SHARES),
    _Panel("median length over a baseline's, at most", lambda term: term.startswith("length"), 1.0),
    _Panel("kept traces found in the task, at most", lambda term: term == "contamination", 1.0),
)


def checks(state: State) -> list[Content]:
    """For every variant the outcome, the picture, the waivers, and the table."""
    if not state.reports:
        return [missing("The gate has not judged yet; there are no checks.")]
    return [part for report in state.reports for part in _variant(report)]


def _variant(report: GateReport) -> list[Content]:
    opened = [check for check in report.checks if check.open]
    closed = len(report.checks) - len(opened)
    said = "✓ passes" if report.passed else "✗ does not pass"
    smoke = "; a smoke run, which never passes" if report.smoke else ""
    does = "does" if closed == 1 else "do"
    count = f": {len(opened)} checks of {len(report.checks)} let it through, {closed} {does} not{smoke}."
    head = element("h3", f"{report.variant} ", element("span", said, class_="good" if report.passed else "bad"))
    return [
        head,
        element("p", f"At {report.confidence:.0%} confidence, one-sided{count}"),
        *_waivers(report),
        *_picture(report),
        _table(report),
    ]


def _waivers(report: GateReport) -> list[Html]:
    waived = [check for check in report.checks if check.waiver]
    rows = [element("li", f"{check.task}, {check.term} ({check.outcome}): {check.waiver}") for check in waived]
    if not rows:
        return []
    return [element("div", element("p", "Waived, and answered for:"), element("ul", *rows), class_="note")]


def _picture(report: GateReport) -> list[Html]:
    shown = list(report.checks)
    if len(shown) > ROWS:
        shown = sorted(shown, key=lambda check: check.outcome == "pass")[:ROWS]
    panels = [(panel.name, [_interval(panel, check) for check in shown if panel.holds(check.term)]) for panel in PANELS]
    panels = [
        (name, rows) for name, rows in panels if any((one.low, one.high, one.threshold) != (0, 0, 0) for one in rows)
    ]
    if not panels:
        return []
    caption = (
        "Each line runs from the lower to the upper bound; the band is what the threshold allows. "
        "✓ and a disc: passed; ✗ and a cross: failed; ? and a ring: undecided. The table below has the numbers, and "
        "what was counted as none where none may be."
    )
    return [pages.figure(intervals(panels, f"The gate: {report.variant}"), caption)]


def _interval(panel: _Panel, check: Check) -> Interval:
    low, middle, high, threshold = (
        panel.factor * value for value in (check.low, check.measured, check.high, check.needed)
    )
    return Interval(
        name=short(check.task) if panel.least else named(check),
        low=low,
        middle=middle,
        high=high,
        threshold=threshold,
        least=panel.least,
        outcome=check.outcome,
        verdict="waived" if check.waiver and check.outcome != "pass" else check.outcome,
    )


def named(check: Check) -> str:
    """A check in a few letters."""
    return f"{short(check.task)}, {check.term}"


def short(task: str) -> str:
    """A task's name without what all of them begin with."""
    return task.removeprefix("distill_")


def _table(report: GateReport) -> Html:
    columns = [
        *(
            Column("task", False, roomy=True),
            Column("check", False),
            Column("measured"),
            Column("bounds"),
            Column("needed"),
        ),
        *(Column("outcome", False), Column("why", False)),
    ]
    return pages.folded(
        "All checks in numbers", pages.table(f"Checks of {report.variant}", columns, map(_row, report.checks))
    )


def _row(check: Check) -> Sequence[Content]:
    waived = ", waived" if check.waiver else ""
    return [
        check.task,
        check.term,
        f"{check.measured:.4g}",
        f"{check.low:.4g} to {check.high:.4g}",
        f"{check.needed:.4g}",
        outcome(check.outcome, waived),
        check.why,
    ]
