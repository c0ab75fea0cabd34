"""Numbers as they are written on the page; None, where a number is not known, too."""

from typing import Any

from distill.pages import Html, element
from distill.records import Outcome

SIGNS: dict[Outcome, tuple[str, str]] = {"pass": ("✓", "good"), "fail": ("✗", "bad"), "undecided": ("?", "open")}


def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}" if isinstance(value, int) else "not known"


def share(part: Any, whole: Any) -> str:
    """A part in percent of a whole."""
    return f"{part / whole:.1%}" if isinstance(part, int) and isinstance(whole, int) and whole else ""


def figure(value: Any) -> str:
    """A number to four digits."""
    return f"{value:,.4g}" if isinstance(value, int | float) else "not known"


def money(value: Any) -> str:
    """Dollars and cents."""
    return f"${value:,.2f}" if isinstance(value, int | float) else "not known"


def duration(seconds: Any) -> str:
    """Hours, minutes and seconds, the two largest of them."""
    if not isinstance(seconds, int | float):
        return "not known"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left} s" if minutes else f"{seconds:.1f} s"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(sealed: Any) -> str:
    """A time as manifests write it, 2026-11-26T00:46:13Z, with spaces to break a line at."""
    return str(sealed or "at an unknown time").replace("T", " ").replace("Z", " UTC")


def outcome(name: Outcome, more: str = "") -> Html:
    """An outcome with its sign, so that its colour is not all that tells it."""
    sign, look = SIGNS[name]
    return element("span", f"{sign} {name}{more}", class_=look)


def missing(what: str) -> Html:
    """A note that something is not there yet."""
    return element("p", what, class_="note")
