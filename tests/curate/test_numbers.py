"""Plain numbers: what is one, and when two are the same."""

from decimal import Decimal

import pytest

from distill.curate import numbers


@pytest.mark.parametrize(
    ("text", "value", "beyond"),
    [
        ("540", "540", ""),
        ("-3.50", "-3.5", ""),
        ("\u22123", "-3", ""),
        (".5", "0.5", ""),
        ("\\$1{,}000", "1000", ""),
        ("-\\$5", "-5", ""),
        ("1,234,567.5", "1234567.5", ""),
        ("540 \\text{ meters}", "540", ""),
        ("15\\mbox{ cm}^2", "15", ""),
        ("\\text{540}", "540", ""),
        ("90^{\\circ}", "90", ""),
        ("35\\%", "35", ""),
        ("540.", "540", "full stop"),
        ("1\\,000", "1000", "thousands separator"),
        ("540 dollars per month", "540", "unit"),
        ("\u20ac540", "540", "unit"),
        ("540\u00b0", "540", "percent or degree sign"),
        ("12.5\\%", "12.5", "percent or degree sign"),
    ],
)
def test_read(text: str, value: str, beyond: str) -> None:
    number = numbers.read(text)
    assert number is not None and (number.value, number.beyond) == (Decimal(value), beyond)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5 million",
        "5 \\text{ dozen}",
        "5 or 6",
        "5 \\text{ or } 6",
        "5x",
        "5 xy",
        "2:00 pm",
        "1,00",
        "0,125",
        "--5",
        "10 5",
        "5/2",
        "5!",
        "1" * 16,
        "5 \\text{ (not 6)}",
        "5 sin theta",
        "9" * 200,
    ],
)
def test_what_is_no_plain_number(text: str) -> None:
    assert numbers.read(text) is None


def test_a_decimal_comma_is_no_list_and_no_thousand() -> None:
    found = [numbers.decimal_comma(text) for text in ("1,22", "0,125", "-0,5", "1,000", "1, 22", "1,2,3", "12")]
    assert [None if one is None else str(one.value) for one in found] == ["1.22", "0.125", "-0.5", *[None] * 4]


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("540", "540.00", True),
        ("540", "541", False),
        ("35", "35\\%", True),
        ("0.35", "35\\%", None),
        ("0.5", "0.5\\%", None),
        ("0.333333", "0.333334", None),
        ("0.333", "0.334", False),
    ],
)
def test_same(gold: str, said: str, expected: bool | None) -> None:
    one, other = numbers.read(gold), numbers.read(said)
    assert one is not None and other is not None and numbers.same(one, other) is expected
