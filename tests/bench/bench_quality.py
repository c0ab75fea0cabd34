"""What each quality filter costs, in milliseconds for a trace of 20 kB on one core, and what it drops of R1's own.

    python tests/bench/bench_quality.py [--rounds 5]

The traces are R1's, from the data folder beside the checkout; where it is not there, every figure is null. What is
dropped is counted over all of them, and the time is taken on those of 10 kB and more: that of the processor, the best
of the rounds, with py3langid's model loaded.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path

from distill.curate import quality
from distill.curate_sections import Quality
from distill.records import Trace

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
CONTROLS = frozenset({"<|im_start|>", "<|im_end|>", "<|endoftext|>"})
KILOBYTES = 20
LONG = 10_000
"""Characters."""

SECTION = Quality()
FILTERS: dict[str, Callable[[Trace], str | None]] = {
    "unfinished": quality.unfinished,
    "no_answer": quality.no_answer,
    "api_error": quality.api_error,
    "no_reasoning": quality.no_reasoning,
    "broken_tags": quality.broken_tags,
    "special_tokens": lambda trace: quality.special_tokens(trace, CONTROLS),
    "code": lambda trace: quality.code(trace, SECTION.code),
    "long_paragraph": lambda trace: quality.long_paragraph(trace, SECTION.paragraph_words),
    "repetition": lambda trace: quality.repetition(trace, SECTION.repetition, SECTION.loop),
    "mixed_language": lambda trace: quality.mixed_language(trace, SECTION.foreign),
}


def real_traces() -> list[Trace]:
    """R1's traces, or none where the data folder is not there."""
    if not DATA.is_dir():
        return []
    path = Path(__file__).parents[1] / "curate" / "real.py"
    spec = importlib.util.spec_from_file_location("curate_real", path)
    assert spec is not None and spec.loader is not None
    real = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(real)
    return [trace for traces in real.r1(DATA).values() for trace in traces]


def seconds(rule: Callable[[Trace], str | None], traces: list[Trace], rounds: int) -> float:
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for trace in traces:
            rule(trace)
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="no peer has these filters; taken as in every bench")
    options = parser.parse_args()
    traces = real_traces()
    long = [trace for trace in traces if len(trace.completion.reasoning) >= LONG]
    size = sum(len((trace.completion.reasoning + trace.completion.answer).encode()) for trace in long)
    dropped = {name: sum(rule(trace) is not None for trace in traces) for name, rule in FILTERS.items()}
    print(f"{len(traces)} of R1's traces; {len(long)} are of 10 kB and more, {size / 1e6:.1f} MB")
    print(f"{'filter':18}{'ms for 20 kB':>14}{'MB/s':>9}{'dropped':>9}")
    spent = {name: seconds(rule, long, options.rounds) for name, rule in FILTERS.items()} if traces else {}
    for name, took in spent.items():
        print(f"{name:18}{took / size * KILOBYTES * 1e6:>14.3f}{size / 1e6 / took:>9,.0f}{dropped[name]:>9}")
    total = sum(spent.values()) / size * KILOBYTES * 1e6 if traces else None
    print(f"{'all':18}{total or 0:>14.3f}")
    said = {"quality_ms_per_20kb": total, "quality_dropped_of_r1": sum(dropped.values()) if traces else None}
    print(json.dumps(said | {f"quality_mb_per_s_{name}": size / 1e6 / took for name, took in spent.items()}))


if __name__ == "__main__":
    main()
