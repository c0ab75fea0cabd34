"""The gate's tasks as the Hub knows them: a task's name in, its data set, name and size out."""

from dataclasses import dataclass

from distill.catalogue import info
from distill.tasknames import RG_PREFIX


@dataclass(frozen=True)
class Benchmark:
    """Where a task's problems are. `size` counts all of them, and is 0 where they are made; `whole` says whether the
    task is the whole of that configuration, so that its score is a score on the benchmark itself."""

    dataset: str
    name: str
    config: str | None
    split: str
    size: int
    whole: bool = True


_NAMES = {
    "distill_gsm8k": ("GSM8K", True),
    "distill_math500": ("MATH-500", True),
    "distill_aime24": ("AIME 2024", True),
    "distill_aime25": ("AIME 2025", True),
    "distill_amc23": ("AMC 2023", True),
    "distill_gpqa_diamond": ("GPQA diamond", True),
    "distill_bbh_logic": ("BBH, its tasks of logic", False),
    "distill_knights_knaves": ("Knights and knaves, 3 to 7 people", False),
    "distill_mmlu_pro_logic": ("MMLU-Pro, its subjects of logic", False),
    "distill_logiqa2": ("LogiQA 2.0, in generative form", False),
}
"""What the catalogue does not say of a task: its name on a card, and whether it is the whole of its data set."""
PROCEDURAL = "reasoning-gym"


def benchmark(task: str) -> Benchmark:
    """A task of the gate; a procedural one is reasoning-gym's own family."""
    if task in _NAMES and (hub := info(task).hub) is not None:
        name, whole = _NAMES[task]
        return Benchmark(hub.path, name, hub.subset, hub.split, info(task).size, whole)
    family = task.removeprefix(RG_PREFIX)
    return Benchmark(PROCEDURAL, f"reasoning-gym, {family}", family, "test", 0, whole=False)
