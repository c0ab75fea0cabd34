"""Evals judge: a model in, scores and a gate report out.

Its doors: `questions` (what the gate asks, for decontamination), `evaluate` (a `Subject` to scores, by lm-eval),
`judge` (scores to a report, pure) and `unmatched_waivers`. Each imports what it needs when it is called, so that
importing this is light.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distill.gate_sections import Gate, GateTask
from distill.records import GateReport, Score, Verifier
from evals.subject import Subject

__all__ = ["Subject", "evaluate", "judge", "questions", "unmatched_waivers"]


def questions(tasks: Sequence[GateTask]) -> dict[str, list[str]]:
    """Every prompt of every task, limits aside; raises InputError where a task's data cannot be read."""
    from evals import benchmarks

    return benchmarks.questions(tasks)


def evaluate(
    subject: Subject,
    gate: Gate,
    verifier: Verifier,
    folder: Path,
    store: Path,
    *,
    baselines: Mapping[str, Sequence[Score]] | None = None,
    say: Callable[[str], None],
) -> list[Score]:
    """One score per task of the gate, in its order, with lm-eval's results and samples under `folder`/<task>.

    What is in `store` already, from any run, is not asked again. With `baselines` and `until_decided`, a task is asked
    in rounds until its checks are decided. Raises InputError for data that cannot be read, EngineError where the engine
    fails or leaves a sample out, and OSError where the disk is full; what was answered by then is kept.
    """
    from evals import harness

    return harness.evaluate(subject, gate, verifier, folder, store, baselines=baselines, say=say)


def judge(
    gate: Gate,
    checkpoint: str,
    variant: str,
    scores: Sequence[Score],
    baselines: Mapping[str, Sequence[Score]],
    *,
    contaminated: Mapping[str, int] | None = None,
) -> GateReport:
    """The report on one variant: every check with its outcome and why. Raises nothing for any score.

    `contaminated` counts, by task, the kept traces whose prompt stands in it.
    """
    from evals.gate import judge as judged

    return judged(gate, checkpoint, variant, scores, baselines, contaminated=contaminated)


def unmatched_waivers(gate: Gate, reports: Sequence[GateReport]) -> list[str]:
    """The waivers of a recipe that name no check of any report."""
    from evals.gate import unmatched_waivers as unmatched

    return unmatched(gate, reports)
