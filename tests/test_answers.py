"""Boxes and reference answers."""

import pytest

from distill.answers import boxed, boxes, reference_answer


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
        ("\\boxed{a \\\\}", ["a \\\\"]),
        ("\\\\boxed{5}", ["5"]),
    ],
)
def test_boxed(text: str, found: list[str]) -> None:
    assert boxed(text) == found


@pytest.mark.parametrize(
    ("text", "joined", "unclosed"),
    [
        ("\\boxed{1} and \\boxed{2}", ["1", "2"], False),
        ("$\\boxed{1}$ or $\\boxed{2}$.", ["1", "2"], False),
        ("\\boxed{1}, \\boxed{2}, and \\boxed{3}", ["1", "2", "3"], False),
        ("\\boxed{0} is first. \\boxed{1} \\text{ or } \\boxed{2}", ["1", "2"], False),
        ("\\boxed{1}, then \\boxed{2}", ["2"], False),
        ("\\boxed{1}. Wait: \\boxed{2", ["1"], True),
        ("none", [], False),
    ],
)
def test_boxes_that_are_one_answer(text: str, joined: list[str], unclosed: bool) -> None:
    found = boxes(text)
    assert [box.text for box in found.joined] == joined and found.unclosed is unclosed
    assert all(text[box.start : box.end].startswith("\\boxed{") for box in found.boxes)


def test_boxed_is_quick_on_hostile_text() -> None:
    assert boxed("\\boxed{" * 100_000) == []
    assert boxed("{" * 1_000_000 + "\\boxed{4}") == ["4"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("steps\n#### 1,234", "1234"),
        ("#### -5.5 ", "-5.5"),
        ("#### 1\n#### 2", "2"),
        ("####\n18", "18"),
        ("#### 18\n####", "18"),
        ("#### x" + " " * 50_000 + "y", "x" + " " * 50_000 + "y"),
        ("so \\boxed{x, y}", "x, y"),
        (" 7 ", "7"),
        ("", ""),
    ],
)
def test_reference_answer(text: str, answer: str) -> None:
    assert reference_answer(text) == answer
