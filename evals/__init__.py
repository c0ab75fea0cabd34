"""Evals judge: a model in, scores and a gate report out.

Three doors: `questions` (what the gate asks, for decontamination), `evaluate` (an engine to scores, by lm-eval) and
`judge` (scores to a report, pure). Each imports what it needs when it is called, so that importing this is light.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from distill.gate_sections import Gate, GateTask
from distill.records import Engine, GateReport, Score, Verifier


def questions(tasks: Sequence[GateTask]) -> dict[str, list[str]]:
    """Every prompt of every task, limits aside; raises InputError where a task's data cannot be read."""
    from evals import benchmarks

    return benchmarks.questions(tasks)


def evaluate(engine: Engine, model_name: str, gate: Gate, verifier: Verifier, folder: Path) -> list[Score]:
    """One score per task, resumed per task from `folder`; raises InputError for unreadable data and EngineError when
    the engine leaves a hole."""
    from evals import harness

    return harness.evaluate(engine, model_name, gate, verifier, folder)


def judge(
    gate: Gate, checkpoint: str, variant: str, scores: Sequence[Score], baselines: Mapping[str, Sequence[Score]]
) -> GateReport:
    """The report on one variant: every check with its outcome and why. Raises nothing for any score."""
    from evals.gate import judge as judged

    return judged(gate, checkpoint, variant, scores, baselines)
