"""The gate: scores of a student and of its baselines in, a report with every check, its outcome and why out.

Pure: no file, no model. Only `pass` opens the gate, or a waiver that a person wrote into the recipe: then the check
keeps its outcome, and says who answers for it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from distill.gate_sections import Gate, GateTask, Waiver
from distill.records import Check, GateReport, Score
from evals import terms

Baselines = Mapping[str, Sequence[Score]]

NEVER_WAIVED = {
    "score": "a task without a score is never waived; evaluate it",
    "complete": "a smoke run is never waived; remove the task's limit",
}
"""Terms that nobody can answer for, and what to do instead."""


def judge(
    gate: Gate,
    checkpoint: str,
    variant: str,
    scores: Sequence[Score],
    baselines: Baselines,
    *,
    contaminated: Mapping[str, int] | None = None,
) -> GateReport:
    """The report on one variant of a checkpoint.

    `baselines` holds the scores of base, previous and teacher as far as they were measured, and, for a quantized
    variant, those of the 16-bit model as `bf16`. `contaminated` counts the kept traces that hold a question of a task;
    a task that it does not name has none, and None makes no such check. Raises nothing for any scores: what is missing
    or makes no sense is undecided.
    """
    by_task = {score.task: score for score in scores}
    checks: list[Check] = []
    for task in gate.tasks:
        score = by_task.get(task.task)
        checks += _task_checks(gate, task, variant, score, baselines)
        if contaminated is not None:
            checks.append(terms.contamination(task.task, contaminated.get(task.task, 0)))
    kept = {name: tuple(others) for name, others in baselines.items()}
    waived = tuple(_waived(gate, variant, check) for check in checks)
    return GateReport(checkpoint, variant, tuple(scores), kept, waived, gate.confidence)


def decided(gate: Gate, task: GateTask, score: Score, baselines: Baselines) -> bool:
    """Whether the looks made so far settle the task's floor and drops, so that no more of its problems need be asked.

    A drop is settled, too, where the baseline has no more problems to compare with. That against the 16-bit model
    counts where `bf16` is among the baselines. Raises nothing.
    """
    if not score.by_problem:
        return False
    if task.min is not None and terms.floor(gate, score, task.min).outcome == "undecided":
        return False
    for asked in terms.drops(gate, task, "" if "bf16" in baselines else "bf16"):
        other = _of(baselines, asked.whom, task.task)
        open_still = terms.drop(gate, score, other, asked).outcome == "undecided"
        if open_still and not terms.exhausted(score, other):
            return False
    return True


def unmatched_waivers(gate: Gate, reports: Sequence[GateReport]) -> list[str]:
    """The waivers, as the recipe writes them, that name no check of any report."""
    made = {(report.variant, check.task, check.term) for report in reports for check in report.checks}
    return [waiver.check for waiver in gate.waive if not any(_names(waiver, *check) for check in made)]


def _task_checks(gate: Gate, task: GateTask, variant: str, score: Score | None, baselines: Baselines) -> list[Check]:
    if score is None or not score.by_problem:
        return [terms.unscored(task)]
    checks = [terms.floor(gate, score, task.min)] if task.min is not None else []
    for asked in terms.drops(gate, task, variant):
        checks.append(terms.drop(gate, score, _of(baselines, asked.whom, task.task), asked))
    checks += terms.counted(gate, score)
    for whom, limit in gate.max_length_ratio.items():
        checks.append(terms.length(score, _of(baselines, whom, task.task), whom, limit))
    return [*checks, terms.partial(score)] if score.smoke else checks


def _of(baselines: Baselines, whom: str, task: str) -> Score | None:
    return next((score for score in baselines.get(whom, ()) if score.task == task), None)


def _waived(gate: Gate, variant: str, check: Check) -> Check:
    """The check with the reasons of those who answer for it."""
    waivers = [waiver for waiver in gate.waive if _names(waiver, variant, check.task, check.term)]
    if waivers and check.term in NEVER_WAIVED:
        return dataclasses.replace(check, why=f"{check.why} Its waiver does not count: {NEVER_WAIVED[check.term]}.")
    return dataclasses.replace(check, waiver="; ".join(f"{waiver.reason} ({waiver.by})" for waiver in waivers))


def _names(waiver: Waiver, variant: str, task: str, term: str) -> bool:
    return waiver.check in (f"{task}/{term}", f"{variant}:{task}/{term}")
