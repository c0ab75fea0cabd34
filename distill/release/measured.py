"""What was measured, told in Markdown: a story's reports in, the card's tables of scores, differences and checks out.

All of them are fractions, as lm-eval and the gate have them.
"""

from collections.abc import Sequence

from distill.records import Check, GateReport, Score
from distill.release.markdown import name, prose, table
from distill.release.story import Story
from distill.statistics import difference, share_bounds

QUANTIZED = ("int8", "nf4")
LEVEL = 0.95
"""Of every interval on a card, two-sided; the gate decides by one-sided bounds of its own, which stand there, too."""


def waivers(reports: Sequence[GateReport]) -> str:
    """The checks that a person answers for, as a quotation that stands out; nothing where there are none."""
    waived = [(report, check) for report in reports for check in report.checks if check.waiver]
    if not waived:
        return ""
    rows = [
        f"> - {name(report.variant)}: {name(f'{check.task}/{check.term}')} ({check.outcome}): {prose(check.waiver)}"
        for report, check in waived
    ]
    return (
        "\n> **Released with waived checks.** A person answers for these, not the gate:\n>\n" + "\n".join(rows) + "\n"
    )


def closed(reports: Sequence[GateReport]) -> str:
    """That nothing here may be released, where that is so."""
    smoke = [report.variant for report in reports if report.smoke]
    if smoke:
        return "\n> **A smoke run:** tasks were asked in part, so that nothing here may be released.\n"
    closed = [report.variant for report in reports if not report.passed]
    return f"\n> **The gate is closed** for {', '.join(map(name, closed))}.\n" if closed else ""


def budget(story: Story) -> str:
    """How every model was asked, in a sentence: sampling, token budget, seeds."""
    sampling = story.recipe.gate.sampling
    return (
        f"Zero-shot, without a system prompt, temperature {sampling.temperature:g}, top-p {sampling.top_p:g}, at most "
        f"{sampling.max_tokens:,} tokens for thinking and answer together; each sample with a seed of its own, from "
        f"{story.recipe.gate.seed} on."
    )


def scores(story: Story, reports: Sequence[GateReport]) -> str:
    """Every score of these variants and of what was measured beside them, with its interval."""
    found = [(report.variant, score) for report in reports for score in report.scores]
    found += [(who, score) for who, scores in story.baselines.items() for score in scores]
    heads = ("model", "task", "avg@k", "95 % interval", "pass@k", "cons@k", "problems", "k", "unfinished")
    return table(heads, [_score(who, score) for who, score in found])


def _score(who: str, score: Score) -> tuple[str, ...]:
    asked = f"{score.n_problems:,}" + (f" of {score.planned:,}" if score.planned > score.n_problems else "")
    return (
        name(who),
        name(score.task) + (" (in part)" if score.smoke else ""),
        f"{score.value:.3f}",
        _interval(score),
        _share(score.pass_at_k),
        _share(score.cons_at_k),
        asked,
        str(score.k_samples),
        f"{score.unfinished:.3f}",
    )


def _interval(score: Score) -> str:
    """Two-sided: the same bounds as in the gate, the report and the leaderboard, each at half of the error."""
    if not score.by_problem:
        return ""
    found = share_bounds(list(score.by_problem.values()), (1 + LEVEL) / 2)
    return f"{found.lower:.3f} to {found.upper:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def differences(story: Story, reports: Sequence[GateReport]) -> str:
    """What each variant is above or below each baseline, and a quantized one against the 16-bit model."""
    rows = []
    for report in reports:
        beside = dict(story.baselines)
        if report.variant in QUANTIZED and (whole := _sixteen_bit(story, report)):
            beside["bf16"] = whole
        theirs = {who: {score.task: score for score in scores} for who, scores in beside.items()}
        for ours in report.scores:
            rows += [
                (name(report.variant), name(ours.task), name(who), *_gap(ours, scores[ours.task]))
                for who, scores in theirs.items()
                if ours.task in scores
            ]
    return table(("variant", "task", "against", "difference", "95 % interval", "problems"), rows)


def _sixteen_bit(story: Story, report: GateReport) -> Sequence[Score]:
    """The 16-bit model's scores, where it was measured: as a baseline, or as a variant."""
    if "bf16" in report.baselines:
        return report.baselines["bf16"]
    return next((other.scores for other in story.reports if other.variant == "bf16"), ())


def _gap(ours: Score, theirs: Score) -> tuple[str, str, str]:
    both = ours.by_problem.keys() & theirs.by_problem.keys()
    if not both:
        return ("not comparable", "", "0")
    found = difference(ours, theirs, LEVEL)
    mark = (" (clear)" if found.significant else "") + ("" if found.paired else " (not paired: other problems, too)")
    return (
        f"{found.mean:+.3f}{mark}",
        f"{found.low:+.3f} to {found.high:+.3f}",
        f"{len(both):,}",
    )


def gate(story: Story) -> str:
    """How the gate decides."""
    gate = story.recipe.gate
    rounds = " Tasks were asked in rounds, and each ended as soon as it was decided." if gate.until_decided else ""
    return (
        f"Every check is decided by a one-sided bound at {story.manifests['gate']['confidence']:.0%} confidence "
        f"(drops are paired by problem), and what no bound decides keeps the gate closed.{rounds}"
    )


def checks(reports: Sequence[GateReport]) -> str:
    """Every check of these reports."""
    heads = ("variant", "task", "check", "measured", "bounds", "needed", "outcome")
    return table(heads, [_check(report.variant, check) for report in reports for check in report.checks])


def _check(variant: str, check: Check) -> tuple[str, ...]:
    bounds = f"{check.low:.3f} to {check.high:.3f}" if (check.low, check.high) != (0.0, 0.0) else f"{check.bound:.3f}"
    outcome = f"{check.outcome}, **waived**" if check.waiver else check.outcome
    return (
        name(variant),
        name(check.task),
        name(check.term),
        f"{check.measured:.3f}",
        bounds,
        f"{check.needed:.3f}",
        outcome,
    )


def measured(story: Story) -> dict[str, Sequence[Score]]:
    """Everything that was measured, by the name of its folder."""
    found: dict[str, Sequence[Score]] = {report.variant: report.scores for report in story.reports}
    for report in story.reports:
        for who, scores in report.baselines.items():
            found.setdefault(who, scores)
    return found


def who(who: str) -> str:
    """What such a name stands for."""
    told = {
        "bf16": "the student in 16 bits",
        "int8": "the student in 8 bits",
        "nf4": "the student in 4 bits",
        "base": "what it was trained from",
        "previous": "the release before",
        "teacher": "the teacher",
    }
    return told.get(who, "measured beside it")
