"""The gate's tasks as the Hub knows them: a task's name in, its data set, name and size out."""

from dataclasses import dataclass

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


_KNOWN = {
    "distill_gsm8k": Benchmark("openai/gsm8k", "GSM8K", "main", "test", 1319),
    "distill_math500": Benchmark("HuggingFaceH4/MATH-500", "MATH-500", None, "test", 500),
    "distill_aime24": Benchmark("HuggingFaceH4/aime_2024", "AIME 2024", None, "train", 30),
    "distill_aime25": Benchmark("math-ai/aime25", "AIME 2025", None, "test", 30),
    "distill_amc23": Benchmark("math-ai/amc23", "AMC 2023", None, "test", 40),
    "distill_gpqa_diamond": Benchmark("Idavidrein/gpqa", "GPQA diamond", "gpqa_diamond", "train", 198),
    "distill_bbh_logic": Benchmark("SaylorTwift/bbh", "BBH, its tasks of logic", None, "test", 2750, whole=False),
    "distill_knights_knaves": Benchmark(
        "K-and-K/knights-and-knaves", "Knights and knaves, 3 to 7 people", "test", "3ppl to 7ppl", 500, whole=False
    ),
    "distill_mmlu_pro_logic": Benchmark(
        "TIGER-Lab/MMLU-Pro", "MMLU-Pro, its subjects of logic", None, "test", 2010, whole=False
    ),
    "distill_logiqa2": Benchmark(
        "baber/logiqa2", "LogiQA 2.0, in generative form", "logiqa2", "test", 1572, whole=False
    ),
}
PROCEDURAL = "reasoning-gym"


def benchmark(task: str) -> Benchmark:
    """A task of the gate; a procedural one is reasoning-gym's own family."""
    family = task.removeprefix(RG_PREFIX)
    return _KNOWN.get(task) or Benchmark(PROCEDURAL, f"reasoning-gym, {family}", family, "test", 0, whole=False)
