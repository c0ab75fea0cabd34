"""The gate: scores of a student and of its baselines in, a report with every check, its outcome and why out.

Pure: no file, no model. A bound decides, never the measured value alone; what no bound decides is `undecided`, and
only `pass` opens the gate.
"""

from collections.abc import Mapping, Sequence

from distill.gate_sections import Gate, GateTask
from distill.records import Check, GateReport, Outcome, Score
from evals.statistics import paired_drop, share_bounds

MAX_UNVERIFIED = 0.02
"""The share of samples that the verifier may leave unjudged before nothing is concluded from a score."""


def judge(
    gate: Gate, checkpoint: str, variant: str, scores: Sequence[Score], baselines: Mapping[str, Sequence[Score]]
) -> GateReport:
    """The report on one variant of a checkpoint. Raises nothing for any scores: what is missing is undecided."""
    by_task = {score.task: score for score in scores}
    base = {score.task: score for score in baselines.get("base", ())}
    checks: list[Check] = []
    for task in gate.tasks:
        checks += _task_checks(gate, task, by_task.get(task.task), base.get(task.task))
    kept = {name: tuple(others) for name, others in baselines.items()}
    return GateReport(checkpoint, variant, tuple(scores), kept, tuple(checks), gate.confidence)


def _task_checks(gate: Gate, task: GateTask, score: Score | None, base: Score | None) -> list[Check]:
    if score is None or not score.by_problem:
        why = f"{task.task} has no score, so nothing is known of it."
        return [Check(task.task, "score", 0.0, 0.0, task.min or 0.0, "undecided", why)]
    checks = []
    if task.min is not None:
        checks.append(_floor(gate, score, task.min))
    if task.max_drop is not None:
        checks.append(_drop(gate, score, base, task.max_drop))
    checks += [_unfinished(gate, score), _unverified(score)]
    return [*checks, _partial(score)] if score.smoke else checks


def _floor(gate: Gate, score: Score, floor: float) -> Check:
    bounds = share_bounds(list(score.by_problem.values()), score.k_samples, gate.confidence)
    outcome, bound, verb = _decide(bounds.lower >= floor, bounds.upper < floor, bounds.lower, bounds.upper)
    if outcome == "fail" and score.unverified > MAX_UNVERIFIED:
        outcome, verb = "undecided", "would be below the floor, but too many answers could not be verified, with"
    why = (
        f"{score.task} scored {score.value:.4f} ({score.metric}, {score.n_problems} problems) and {verb} a bound of "
        f"{bound:.4f} at {gate.confidence:.0%} confidence; the floor is {floor:.4f}."
    )
    return Check(score.task, "floor", score.value, bound, floor, outcome, why)


def _drop(gate: Gate, score: Score, base: Score | None, limit: float) -> Check:
    if base is None or not base.by_problem:
        why = f"{score.task} has no score of the base to compare with."
        return Check(score.task, "drop", 0.0, 1.0, limit, "undecided", why)
    try:
        drop = paired_drop(base.by_problem, score.by_problem, gate.confidence)
    except ValueError as error:
        why = f"{score.task} cannot be compared with the base: {error}."
        return Check(score.task, "drop", base.value - score.value, 1.0, limit, "undecided", why)
    outcome, bound, verb = _decide(drop.upper <= limit, drop.lower > limit, drop.upper, drop.lower)
    if max(score.unverified, base.unverified) > MAX_UNVERIFIED:
        outcome, verb = "undecided", "says nothing, since too many answers could not be verified, with"
    why = (
        f"{score.task} fell by {drop.mean:.4f} from the base's {base.value:.4f} to {score.value:.4f}, paired over "
        f"{score.n_problems} problems, and {verb} a bound of {bound:.4f} at {gate.confidence:.0%} confidence; "
        f"it may fall by {limit:.4f}."
    )
    return Check(score.task, "drop", drop.mean, bound, limit, outcome, why)


def _unfinished(gate: Gate, score: Score) -> Check:
    outcome: Outcome = "pass" if score.unfinished <= gate.max_unfinished else "fail"
    why = (
        f"{score.unfinished:.2%} of {score.task}'s samples were cut off before an answer; "
        f"{gate.max_unfinished:.2%} may be."
    )
    return Check(score.task, "unfinished", score.unfinished, score.unfinished, gate.max_unfinished, outcome, why)


def _unverified(score: Score) -> Check:
    outcome: Outcome = "pass" if score.unverified <= MAX_UNVERIFIED else "undecided"
    why = (
        f"the verifier could not judge {score.unverified:.2%} of {score.task}'s samples; above {MAX_UNVERIFIED:.2%} "
        "the judge is in doubt, not the model."
    )
    return Check(score.task, "unverified", score.unverified, score.unverified, MAX_UNVERIFIED, outcome, why)


def _partial(score: Score) -> Check:
    why = f"{score.task} asked only its first {score.n_problems} problems: a smoke run never passes."
    return Check(score.task, "complete", float(score.n_problems), float(score.n_problems), 0.0, "undecided", why)


def _decide(passes: bool, fails: bool, near: float, far: float) -> tuple[Outcome, float, str]:
    """The outcome, the bound that decided it, and the words for it."""
    if passes:
        return "pass", near, "passes with"
    if fails:
        return "fail", far, "fails with"
    return "undecided", near, "is undecided with"
