"""What a release was not shown to be: a story in, sentences for its card out. What was not measured is said."""

from collections.abc import Iterator

from distill.gate_sections import GateTask
from distill.records import Score
from distill.release.benchmarks import PROCEDURAL, benchmark
from distill.release.markdown import name, prose
from distill.release.story import Story
from distill.tasknames import SUITES

FEW = 100
"""Below so many problems an interval is wide, whatever k."""


def sentences(story: Story) -> list[str]:
    """Each limit in a sentence of Markdown."""
    return [*_always(), *_not_compared(story), *_scores(story), *_variants(story)]


def _always() -> Iterator[str]:
    yield (
        "Measured on mathematics and logic in English alone: other subjects and languages, code, tools, conversations "
        "of several turns, instructions, safety, bias and truthfulness were not measured."
    )
    yield "Its reasoning is text like any other: it may be wrong while the answer is right, and need not be why."


def _not_compared(story: Story) -> Iterator[str]:
    told = {
        "base": "what it was trained from",
        "previous": "a release before it",
        "teacher": "its teacher",
    }
    missing = [words for who, words in told.items() if who not in story.report().baselines]
    if missing:
        yield f"Not measured beside it: {', '.join(missing)}."


def _scores(story: Story) -> Iterator[str]:
    report, tasks = story.report(), {task.task: task for task in story.recipe.gate.tasks}
    asked = {score.task for score in report.scores}
    left = sorted({task for suite in ("math", "logic") for task in SUITES[suite]} - asked)
    if left:
        yield f"Not asked: {', '.join(map(name, left))}."
    few = [score for score in report.scores if score.n_problems < FEW]
    if few:
        yield f"Few problems, so a wide interval: {', '.join(f'{name(s.task)} ({s.n_problems})' for s in few)}."
    for score in report.scores:
        yield from _score(score, tasks.get(score.task))


def _score(score: Score, task: GateTask | None) -> Iterator[str]:
    shown, bench = name(score.task), benchmark(score.task)
    if score.smoke:
        yield f"{shown} was asked in part: its score is no measurement."
    elif 0 < score.n_problems < score.planned:
        yield (
            f"{shown} ended as soon as its checks were decided, after {score.n_problems:,} of {score.planned:,} "
            "problems: its value leans away from the threshold, and does not compare with scores on all of them."
        )
    if not bench.whole and bench.dataset != PROCEDURAL:
        yield f"{shown} is {prose(bench.name)}: its score is not one on the whole of {name(bench.dataset)}."
    if task is not None and task.path is not None:
        yield f"{shown} was read from a local copy of its problems."
    if score.unverified > 0:
        yield f"{score.unverified:.1%} of {shown}'s answers could not be verified, and count as wrong."


def _variants(story: Story) -> Iterator[str]:
    merge = story.manifests.get("gate", {}).get("merge") or {}
    merged = merge.get("merged")
    if merged:
        yield (
            f"The merged weights differ from what was trained by a mean KL of {merged['kl']:.2g} nats per token, over "
            f"{merge['positions']:,} positions."
        )
    quantized = [report.variant for report in story.reports if report.variant != "bf16"]
    if quantized and story.recipe.gate.max_variant_drop is None:
        yield f"No check holds {', '.join(map(name, quantized))} against the 16-bit model."
