"""Answers side by side: takes what was surveyed, gives prompts and answers as markup, every text clipped and escaped.

At most `TASKS` tasks, five cases each, `MODELS` answers a case, of `PROMPT`, `THINKING` and `ANSWER` bytes: 8 MB.
"""

from collections.abc import Sequence

from distill import pages
from distill.pages import Content, Html, element
from distill.report.state import State
from distill.report.survey import TASKS, Case, Shown, Survey, tasks
from distill.report.words import count, missing

PROMPT = 3_000
THINKING = 6_000
ANSWER = 3_000
"""Bytes of each text on the page; of a longer one the beginning and the end are shown."""

MARKS = {
    "right": ("✓", "good"),
    "wrong": ("✗", "bad"),
    "unfinished": ("…", "open"),
    "unverified": ("?", "open"),
}


def side_by_side(state: State, surveys: Sequence[Survey]) -> list[Content]:
    """For each task one problem of every kind of case that there is."""
    said: list[Content] = []
    if not any(one.cases for one in surveys):
        return [missing("No answers of a student are there yet; the gate keeps them when it measures.")]
    student = next(iter(state.students), "the student")
    said.append(
        element(
            "p",
            f"For each task one problem of every kind, drawn by a hash of its name. A model counts as right where at "
            f"least half of its samples are; {student} stands for the student. Longer texts are cut in their middle: "
            f"of thinking at most {THINKING:,} bytes are shown, of a prompt and of an answer {PROMPT:,}.",
        )
    )
    for one in surveys:
        said += [element("h3", one.task), *(_case(student, case) for case in one.cases)]
    others = [task for task in tasks(state) if task not in {one.task for one in surveys}]
    if others:
        said.append(
            missing(f"Not shown (at most {TASKS} tasks are, and only those with answers): {', '.join(others)}.")
        )
    return said


def _case(student: str, case: Case) -> Html:
    first = case.answers[0].sample
    return element(
        "article",
        element("h4", f"{student} {case.kind}" if case.kind.startswith("did") else f"{student} is {case.kind}"),
        element("small", f"problem {first.problem_id}"),
        pages.block(first.prompt, PROMPT),
        element("p", element("span", "right answer: ", class_="soft"), pages.text(first.target, PROMPT)),
        element("div", *map(_answer, case.answers), class_="answers"),
    )


def _answer(shown: Shown) -> Html:
    said, mark = shown.sample.completion, shown.sample.mark
    sign, look = MARKS.get(mark, ("?", "open"))
    tokens = "" if said.completion_tokens is not None else "about "
    about = (
        f"{shown.right} of {shown.asked} right; {tokens}{count(said.probable_tokens)} tokens, seed {shown.sample.seed}"
    )
    thinking: list[Content] = []
    if said.reasoning:
        thinking.append(
            pages.folded(f"thinking, {len(said.reasoning):,} characters", pages.block(said.reasoning, THINKING))
        )
    answer = pages.block(said.answer, ANSWER) if said.answer else element("p", "no answer", class_="soft")
    return element(
        "div",
        element("h4", f"{shown.model} ", element("span", f"{sign} {mark}", class_=look)),
        element("small", about),
        *thinking,
        answer,
        class_="answer",
    )
