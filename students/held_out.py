"""What a student makes of held-out problems: takes a model between two steps, gives its loss and its share of right
answers, and leaves the model as it was."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import shards
from distill.records import Completion, Problem, Request, Sampling, Trace, Verifier
from students.documents import problem_number

BATCH = 32
"""Answers that are generated at once."""


@dataclass(frozen=True)
class Quiz:
    """Held-out problems to be solved at every checkpoint, always with the same seeds."""

    problems: Sequence[Problem]
    tokenizer: Any
    verifier: Verifier
    max_tokens: int

    def accuracy(self, model: Any) -> float:
        """The share of right answers, one attempt at each problem, at R1's temperature."""
        from distill.engines.local import LocalEngine

        by_id = {problem.id: problem for problem in self.problems}
        sampling = Sampling(max_tokens=self.max_tokens)
        requests = [Request(problem.id, problem.ask, seed, sampling) for seed, problem in enumerate(self.problems)]
        engine = LocalEngine(model, self.tokenizer, name="student", batch_size=BATCH)
        with _generating(model):
            came = [(by_id[request.id], said) for request, said in engine.complete(requests)]
        finished = [(one, said.answer) for one, said in came if isinstance(said, Completion) and not said.unfinished]
        return sum(judgement.right is True for judgement in self.verifier(finished)) / len(by_id)


def problems_of(kept: Path, numbers: frozenset[int], most: int) -> list[Problem]:
    """So many problems of kept traces, whatever the order of those: of the ones that have these numbers, the least."""
    found: dict[int, Problem] = {}
    for trace in shards.read_parts(kept, Trace):
        if (number := problem_number(trace.problem.id)) in numbers:
            found.setdefault(number, trace.problem)
    return [found[number] for number in sorted(found)[:most]]


def measured(state: Any, step: int) -> dict[str, float]:
    """What was measured after a step, `held_out_loss` among it, by the Trainer's state; empty where nothing was."""
    entries = [entry for entry in state.log_history if entry["step"] == step and "eval_loss" in entry]
    kinds = ("loss", "accuracy")
    return {
        f"held_out_{kind}": float(entries[-1][f"eval_{kind}"])
        for kind in kinds
        if entries and f"eval_{kind}" in entries[-1]
    }


@contextmanager
def measuring(model: Any) -> Iterator[None]:
    """No dropout until the block ends.

    bitsandbytes' 4-bit layers stay as they are in training: on CPUs that have bfloat16 products it repacks their
    weights for the first pass of inference, and repacked they cannot be trained against.
    """
    was_training = model.training
    model.eval()
    for layer in model.modules():
        if any(
            kind.__module__.startswith("bitsandbytes.") and kind.__name__ == "Linear4bit"
            for kind in type(layer).__mro__
        ):
            layer.training = True
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def _generating(model: Any) -> Iterator[None]:
    """Attention with a cache, and no dropout, until the block ends."""
    before, cached = model.config._attn_implementation, model.config.use_cache
    model.set_attn_implementation("sdpa")
    model.config.use_cache = True
    try:
        with measuring(model):
            yield
    finally:
        model.set_attn_implementation(before)
        model.config.use_cache = cached
