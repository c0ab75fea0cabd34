"""Boxes and reference answers."""

import pytest

from distill.answers import boxed, reference_answer


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("\\boxed{1} and \\boxed {2}", ["1", "2"]),
        ("\\boxed{\\frac{1}{2}}", ["\\frac{1}{2}"]),
        ("\\fbox{ x }", ["x"]),
        ("\\boxed{\\} ]}", ["\\} ]"]),
        ("\\boxed{\\boxed{3}}", ["\\boxed{3}"]),
        ("\\boxed{1} then \\boxed{2", ["1"]),
        ("boxed{1} nothing", []),
        ("\\boxed{}", [""]),
    ],
)
def test_boxed(text: str, found: list[str]) -> None:
    assert boxed(text) == found


def test_boxed_is_quick_on_hostile_text() -> None:
    assert boxed("\\boxed{" * 100_000) == []
    assert boxed("{" * 1_000_000 + "\\boxed{4}") == ["4"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("steps\n#### 1,234", "1234"),
        ("#### -5.5 ", "-5.5"),
        ("#### 1\n#### 2", "2"),
        ("so \\boxed{x, y}", "x, y"),
        (" 7 ", "7"),
        ("", ""),
    ],
)
def test_reference_answer(text: str, answer: str) -> None:
    assert reference_answer(text) == answer
