"""The gate's terms, each a check of one task: scores in, outcome and why out.

Two kinds. Floors and drops are estimates: a bound decides, never the measured value alone, and what no bound decides is
`undecided`. All others are counted: they say what the samples are on which the estimates rest (cut off, going in
circles, unboxed, longer than before), and a count has no bounds.
"""

from dataclasses import dataclass

from distill.gate_sections import Gate, GateTask
from distill.records import Check, Outcome, Score
from distill.statistics import spread
from evals.advice import Asked, shared_order, spread_of_differences, what_decides
from evals.sequential import Decision, Rule, decide

MAX_UNVERIFIED = 0.02
"""The share of samples that the verifier may leave unjudged before nothing is concluded from a score."""

_NAMES = {"base": "the base", "previous": "the previous release", "bf16": "the 16-bit model", "teacher": "the teacher"}
_DOUBTED = "Too many answers could not be verified to conclude anything: mend the verifier or the task's references."


@dataclass(frozen=True)
class Drop:
    """One comparison: the check's term, whom with (a key of the baselines), and by how much a student may be behind."""

    term: str
    whom: str
    limit: float


def drops(gate: Gate, task: GateTask, variant: str) -> list[Drop]:
    """The comparisons that this gate makes of a task for this variant."""
    found = []
    if task.max_drop is not None:
        found += [
            Drop("drop" if whom == "base" else f"drop_{whom}", whom, task.max_drop)
            for whom in ("base", "previous")
            if whom in gate.baselines
        ]
    if gate.max_variant_drop is not None and variant != "bf16":
        found.append(Drop("drop_bf16", "bf16", gate.max_variant_drop))
    return found


def floor(gate: Gate, score: Score, least: float) -> Check:
    """Whether the score is shown to be at least `least`."""
    values = [score.by_problem[name] for name in Score.order(score.by_problem)]
    rule = Rule(least, gate.confidence)
    try:
        decision = decide(values, score.looks, score.planned, rule)
        spread_of = spread(values, score.k_samples)
    except ValueError as error:
        return _unknown(score.task, "floor", score.value, least, f"{score.task} cannot be judged: {error}.")
    estimate, outcome = decision.estimate, decision.outcome
    if outcome == "fail" and score.unverified > MAX_UNVERIFIED:
        outcome = "undecided"
    bound = estimate.upper if decision.outcome == "fail" else estimate.lower
    why = (
        f"{score.task} scored {estimate.mean:.4f} ({score.metric}, {_problems(decision, score)}) and {_VERBS[outcome]} "
        f"a bound of {bound:.4f} at {gate.confidence:.0%} confidence; the floor is {least:.4f}."
    )
    if outcome == "undecided" and decision.outcome == "fail":
        why += f" {_DOUBTED}"
    elif outcome == "undecided":
        asked = Asked(values, spread_of, score.k_samples, score.looks, score.planned)
        why += f" {what_decides(asked, rule)} A floor of at most {_down(estimate.lower)} would pass."
    return Check(score.task, "floor", estimate.mean, bound, least, outcome, why, estimate.lower, estimate.upper)


def drop(gate: Gate, score: Score, other: Score | None, asked_for: Drop) -> Check:
    """Whether the student is shown to be behind by no more than allowed, paired by problem.

    The baseline must have answered the student's problems. Where it was itself asked in rounds and ended early, the two
    are compared over what it answered: it ended because it did well there, so this is hard on the student.
    """
    term, limit, name = asked_for.term, asked_for.limit, _NAMES[asked_for.whom]
    if other is None or not other.by_problem:
        why = f"{score.task} has no score of {name} to compare with; measure {name} on it, too."
        return _unknown(score.task, term, 0.0, limit, why)
    try:
        values = _behind(score, other)
        ends = _looks(score, len(values))
        planned = score.planned if score.looks else len(values)
        rule = Rule(-limit, gate.confidence, -1.0, 1.0)
        decision = decide(values, ends, planned, rule)
        parts = [(spread(list(one.by_problem.values()), one.k_samples), one.k_samples) for one in (score, other)]
    except ValueError as error:
        why = f"{score.task} cannot be compared with {name}: {error}."
        return _unknown(score.task, term, other.value - score.value, limit, why)
    doubted = max(score.unverified, other.unverified) > MAX_UNVERIFIED
    outcome: Outcome = "undecided" if doubted else decision.outcome
    found = decision.estimate
    mean, low, high = 0.0 - found.mean, 0.0 - found.upper, 0.0 - found.lower
    bound = low if decision.outcome == "fail" else high
    moved = "fell" if mean >= 0 else "rose"
    why = (
        f"{score.task} {moved} by {abs(mean):.4f} from {name}'s {other.value:.4f}, paired over "
        f"{_problems(decision, score)}, and {_VERBS[outcome]} a bound of {bound:.4f} at {gate.confidence:.0%} "
        f"confidence; it may fall by {limit:.4f}."
    )
    if doubted:
        why += f" {_DOUBTED}"
    elif outcome == "undecided":
        asked = Asked(values, spread_of_differences(values, parts), score.k_samples, ends, planned)
        why += f" {_missing(score, other, asked, rule, name)} A limit of at least {_up(high)} would pass."
    return Check(score.task, term, mean, bound, limit, outcome, why, low, high)


def exhausted(score: Score, other: Score | None) -> bool:
    """Whether more of the student's problems would tell no more of a comparison, since the baseline's ended before."""
    order = Score.order(score.by_problem)
    return other is not None and shared_order(order, other.by_problem) < len(order)


def counted(gate: Gate, score: Score) -> list[Check]:
    """The shares of the samples that may be cut off, in circles, unboxed or unverified."""
    found = [
        _share(score, "unfinished", score.unfinished, gate.max_unfinished, "were cut off before an answer"),
        _share(score, "repetition", score.repetition, gate.max_repetition, "go in circles"),
        _share(score, "unboxed", score.unboxed, gate.max_unboxed, "are finished and have no answer in a box"),
    ]
    why = (
        f"the verifier could not judge {score.unverified:.2%} of {score.task}'s samples; above {MAX_UNVERIFIED:.2%} "
        "the judge is in doubt, not the model."
    )
    outcome: Outcome = "pass" if score.unverified <= MAX_UNVERIFIED else "undecided"
    return [*found, _check(score.task, "unverified", score.unverified, MAX_UNVERIFIED, outcome, why)]


def length(score: Score, other: Score | None, whom: str, limit: float) -> Check:
    """The student's median answer against a baseline's, in tokens."""
    name, term = _NAMES[whom], f"length:{whom}"
    if other is None or not (other.median_tokens > 0 and score.median_tokens > 0):
        theirs = other.median_tokens if other else 0.0
        why = (
            f"{score.task}'s median answer has {score.median_tokens:,.0f} tokens and {name}'s {theirs:,.0f}, where 0 "
            "means that it is not known; measure both anew."
        )
        return _check(score.task, term, 0.0, limit, "undecided", why)
    ratio = score.median_tokens / other.median_tokens
    why = (
        f"{score.task}'s median answer has {score.median_tokens:,.0f} tokens, {ratio:.2f} times {name}'s "
        f"{other.median_tokens:,.0f}; {limit:.2f} times are allowed."
    )
    return _check(score.task, term, ratio, limit, "pass" if ratio <= limit else "fail", why)


def contamination(task: str, found: int) -> Check:
    """No trace that was trained on may hold a question of the gate."""
    why = f"Questions of {task} stand in {found} of the kept traces"
    why += "; none may, or its score shows memory. Curate against this task." if found else "."
    return _check(task, "contamination", float(found), 0.0, "pass" if found == 0 else "fail", why)


def partial(score: Score) -> Check:
    """A smoke run."""
    why = f"{score.task} asked only its first {score.n_problems} problems: a smoke run never passes; remove its limit."
    return _check(score.task, "complete", float(score.n_problems), 0.0, "undecided", why)


def unscored(task: GateTask) -> Check:
    """A task that nobody measured."""
    why = f"{task.task} has no score, so nothing is known of it; evaluate it."
    return Check(task.task, "score", 0.0, 0.0, task.min or 0.0, "undecided", why, 0.0, 1.0)


_VERBS = {"pass": "passes with", "fail": "fails with", "undecided": "is undecided with"}


def _problems(decision: Decision, score: Score) -> str:
    """How many problems decided, and of how many."""
    whole = max(score.planned, score.n_problems)
    of = "" if decision.problems == whole else f" of {whole}"
    return f"{decision.problems}{of} problem{'' if whole == 1 else 's'}"


def _behind(score: Score, other: Score) -> list[float]:
    """Student minus baseline by problem, in the order of asking; over what both answered where one of them was asked in
    rounds, which is the beginning of what the other did. Raises ValueError where it is not."""
    order = Score.order(score.by_problem)
    both = shared_order(order, other.by_problem)
    fewer = min(len(order), len(other.by_problem))
    whole = len(order) if score.looks else max(len(order), len(other.by_problem))
    if both < (fewer if other.looks else whole):
        apart = len(score.by_problem.keys() ^ other.by_problem.keys())
        raise ValueError(f"{apart} problems were answered by only one of the two; measure both on the same ones")
    return [score.by_problem[name] - other.by_problem[name] for name in order[:both]]


def _looks(score: Score, answered: int) -> tuple[int, ...]:
    """The student's looks, as far as the baseline answered."""
    if not score.looks:
        return ()
    if score.looks[-1] != len(score.by_problem):
        raise ValueError(f"the last look was at {score.looks[-1]} problems, and {len(score.by_problem)} have a value")
    return (*(end for end in score.looks if end < answered), answered)


def _missing(score: Score, other: Score, asked: Asked, rule: Rule, name: str) -> str:
    if exhausted(score, other):
        return f"{name.capitalize()} answered only {len(asked.values)} of these problems; measure it on all of them."
    return what_decides(asked, rule)


def _share(score: Score, term: str, share: float, most: float, what: str) -> Check:
    outcome: Outcome = "pass" if share <= most else "fail"
    why = f"{share:.2%} of {score.task}'s samples {what}; {most:.2%} may."
    return _check(score.task, term, share, most, outcome, why)


def _check(task: str, term: str, measured: float, needed: float, outcome: Outcome, why: str) -> Check:
    """One that is counted: its bounds are what was measured."""
    return Check(task, term, measured, measured, needed, outcome, why, measured, measured)


def _unknown(task: str, term: str, measured: float, needed: float, why: str) -> Check:
    """One of which nothing is known: its bounds are the whole range."""
    low, worst = (0.0, 0.0) if term == "floor" else (-1.0, 1.0)
    return Check(task, term, measured, worst, needed, "undecided", why, low, 1.0)


def _down(value: float) -> str:
    return f"{max(0.0, int(value * 1000) / 1000):.3f}"


def _up(value: float) -> str:
    return f"{min(1.0, -int(-value * 1000 // 1) / 1000):.3f}"
