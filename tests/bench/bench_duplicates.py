"""Duplicates and selection: what they take at 800 thousand traces, and how well real near duplicates are told.

    python tests/bench/bench_duplicates.py [--traces 800000] [--problems 400000] [--peer-python PATH]

At size: features as workers would send them are made up (random signatures; one trace in ten nearly repeats another of
its problem, one problem in ten another one, and a tenth of the problems are of ten templates), gathered, and decided
on with every rule of selection at work: seconds, and the most memory of the process. On one real trace of 20 kB:
milliseconds for all features. On R1's real traces: the similarity of different attempts at the same problem, and of
traces with a tenth of their sentences left out, or moved. `--peer-python` is taken for the sake of `make bench` only.
"""

import argparse
import json
import random
import re
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill import think
from distill.curate import signatures
from distill.curate.candidates import Candidates
from distill.curate.dedupe import exact, near
from distill.curate.select import select
from distill.curate.signatures import PERMUTATIONS, Features
from distill.curate_sections import Duplicates, Select
from distill.records import Completion, Problem, Sampling, Trace

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "r1_mip_gsm8k_math"
SOURCES = ("openr1", "numina", "gsm8k", "reasoning_gym")
EVERYTHING = Select(
    pass_rate=(0.1, 0.9),
    per_problem=4,
    prefer="diverse",
    long_share=0.5,
    source_share=0.4,
    max_total_tokens=10**9,
)


def made_up(traces: int, problems: int) -> Iterator[Features]:
    """Features of so many traces of so many problems, in no order."""
    random_ = np.random.default_rng(0)
    templates = random_.integers(0, 2**32, (10, PERMUTATIONS), dtype=np.uint32)
    last: dict[int, bytes] = {}
    asked_before = templates[0].tobytes(), 0
    asked: dict[int, tuple[bytes, int]] = {}
    for at in range(traces):
        problem = int(random_.integers(problems))
        if problem not in asked:
            kind = random_.integers(10)
            prompt = random_.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
            if kind == 0:
                prompt = np.where(random_.random(PERMUTATIONS) < 0.9, templates[random_.integers(10)], prompt)
            asked[problem] = asked_before if kind == 1 else (prompt.tobytes(), problem)
            asked_before = asked[problem]
        said = random_.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
        if random_.random() < 0.1 and problem in last:
            said = np.where(random_.random(PERMUTATIONS) < 0.9, np.frombuffer(last[problem], np.uint32), said)
        last[problem] = said.tobytes()
        yield Features(
            id=f"{problem:016x}#{at}",
            problem_id=f"{problem:016x}",
            source=SOURCES[problem % len(SOURCES)],
            digest=random_.bytes(16),
            sketch=last[problem],
            numbers=at,
            asked=asked[problem][0],
            marks=asked[problem][1],
            content=problem,
            answer=asked[problem][1] % 1000,
            tokens=int(random_.integers(200, 9000)),
        )


def at_size(traces: int, problems: int) -> dict[str, float]:
    candidates = Candidates()
    for one in made_up(traces, problems):
        candidates.add(one)
        candidates.tried(one.problem_id, right=True)
        candidates.tried(one.problem_id, right=one.tokens % 2 == 0)
    figures: dict[str, float] = {"gathered_mib": memory_mib()}
    steps = {
        "exact": lambda: exact(candidates),
        "near": lambda: near(candidates, Duplicates()),
        "select": lambda: select(candidates, EVERYTHING),
    }
    for name, step in steps.items():
        began = time.perf_counter()
        figures[f"{name}_dropped"] = sum(1 for _ in step())
        figures[f"{name}_s"] = time.perf_counter() - began
    return figures | {"peak_mib": memory_mib()}


def memory_mib() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def milliseconds(texts: list[str]) -> float:
    """Of one core, for the features of a trace of 20 kB; the best of several rounds."""
    problem = Problem.of("What is the greatest prime below 100?", "97", "math", "bench")
    text = max(texts, key=len)
    reasoning = (text * (1 + 20_000 // len(text)))[:20_000]
    one = Trace("a#0", problem, Completion(reasoning, "97", "stop", 1, 1, "r1"), "r1", 0, Sampling(), None, "", 0.0)
    traces = [replace(one, id=f"a#{at}") for at in range(32)]
    best = float("inf")
    for _ in range(10):
        began = time.process_time()
        signatures.features(traces)
        best = min(best, time.process_time() - began)
    return 1000 * best / len(traces)


def similarities(pairs: list[tuple[str, str]]) -> Any:
    sketched = [np.frombuffer(one, np.uint32) for one in signatures.sketches([text for pair in pairs for text in pair])]
    return np.array([(one == other).mean() for one, other in zip(sketched[::2], sketched[1::2], strict=True)])


def read(name: str, column: str) -> dict[str, str]:
    rows = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return {row["question"]: think.split(row[column]).reasoning or row[column] for row in rows}


def edited(text: str, random_: random.Random, *, leave_out: bool) -> str:
    """The text with a tenth of its sentences left out, or moved to where another of them was."""
    sentences = re.split(r"(?<=[.?!\n])\s+", text)
    chosen = random_.sample(range(len(sentences)), min(len(sentences), max(2, len(sentences) // 10)))
    if leave_out:
        return " ".join(sentence for at, sentence in enumerate(sentences) if at not in set(chosen))
    for at, sentence in zip(chosen, [sentences[at] for at in chosen[1:] + chosen[:1]], strict=True):
        sentences[at] = sentence
    return " ".join(sentences)


def on_real_traces() -> dict[str, float | None]:
    names = ("feature_ms", "attempts_max", "left_out_found", "moved_found")
    if not DATA.is_dir():
        return dict.fromkeys(names)
    ours = ("deepseek-reasoner (question)", "model_answer")
    gsm8k = [read("gsm8k_normal_deepseekR1", ours[0]), read("gsm8k_normal_DSQ", ours[1])]
    math = [read("math_normal_deepseekR1", ours[0]), read("math_normal_s1.1", ours[1])]
    attempts = [
        (one[question], other[question])
        for several in (gsm8k, math)
        for at, one in enumerate(several)
        for other in several[at + 1 :]
        for question in one.keys() & other.keys()
    ]
    texts = [text for text in [*gsm8k[0].values(), *math[0].values()] if len(text) > 500]
    random_ = random.Random(0)
    bound = Duplicates().near_reasoning
    left_out = similarities([(text, edited(text, random_, leave_out=True)) for text in texts])
    moved = similarities([(text, edited(text, random_, leave_out=False)) for text in texts])
    return {
        "feature_ms": milliseconds(texts),
        "attempts": len(attempts),
        "attempts_max": float(similarities(attempts).max()),
        "left_out_found": float((left_out >= bound).mean()),
        "moved_found": float((moved >= bound).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=int, default=800_000)
    parser.add_argument("--problems", type=int, default=400_000)
    parser.add_argument("--peer-python", type=Path, help="not used: nothing is compared here")
    given = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    figures: dict[str, float | None] = {**on_real_traces(), **at_size(given.traces, given.problems)}
    for name, value in figures.items():
        print(f"{name:20} {'-' if value is None else f'{value:12,.3f}'}")
    print(json.dumps({"traces": given.traces, "problems": given.problems, **figures}))


if __name__ == "__main__":
    main()
