"""Curation at size: generated shards of traces, curated by all cores; traces a second, and the memory of all processes.

    python tests/bench/bench_curate.py [--gb 2] [--trace-kb 20] [--problems 4]

The traces are prose (sentences of Python's own documentation, drawn anew for each) around a small sum with its boxed
answer: one in five is wrong, some repeat themselves, some are copies, and some ask what the gate asks. Every filter,
the verifier and the comparison with others are at work, with the bundled base's tokenizer. The peak is the sum of the
proportional memory (PSS) of the command and of all processes that it started; it is taken for a quarter of the traces
too, so that what each further trace costs, and what 800 thousand would take, can be told.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from distill import shards
from distill.records import Completion, Problem, Sampling, Trace

AIM = 800_000
PROMPT = "{name} has {a} {thing} and buys {b} bags with {c} {thing} in each. How many {thing} does {name} have now?"
THINGS = "apples stamps marbles books pencils shells coins candles buttons ribbons".split()
NAMES = "Amara Bilal Chen Dilan Emre Freya Goran Hana Iskra Jonas Kofi Lena Mika Noor Oluf Petra Rosa Sven".split()


def sentences() -> list[str]:
    """Prose of the standard library's documentation, without code and markup."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics.values()).split())
    found = re.findall(r"(?<=[.!?] )[A-Z][^.!?`*|=<>_{}\\]{60,300}\.(?= )", text)
    return sorted(set(found))


def traces(count: int, size: int, per_problem: int, prose: list[str]) -> Iterator[Trace]:
    """So many traces of about `size` bytes."""
    for at in range(count):
        drawn = random.Random(at // per_problem)
        a, b, c = (drawn.randrange(2, 900) for _ in range(3))
        prompt = PROMPT.format(name=drawn.choice(NAMES), thing=drawn.choice(THINGS), a=a, b=b, c=c)
        problem = Problem.of(prompt, str(a + b * c), "math", f"generated-{at // per_problem % 3}")
        drawn = random.Random(-at - 1)
        words, length = [f"There are {b} bags with {c} in each, so {b} * {c} = {b * c}."], 0
        copied = random.Random(-at) if at % 50 == 47 else drawn  # one in fifty says what the one before it says
        while length < size:
            for sentence in copied.sample(prose, len(prose)):
                words.append(sentence if len(words) % 5 else f"\n\n{sentence}")
                length += len(words[-1]) + 1
                if length >= size:
                    break
        if at % 40 == 7:
            words += [words[-1]] * 30  # one in forty ends in a loop
        answer = a + b * c + (at % 5 == 3)
        completion = Completion(" ".join(words), f"So the answer is \\boxed{{{answer}}}.", "stop", 60, None, "bench")
        yield Trace(Trace.name(problem, at), problem, completion, "bench", at, Sampling(), None, "", 0.0)


def curated(folder: Path, prompts: list[str]) -> dict[str, float]:
    """Curates a folder of parts in a process of its own, and watches its memory."""
    (folder / "prompts.json").write_text(json.dumps({"distill_gsm8k": prompts}), encoding="utf-8")
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, __file__, "--work", str(folder)], stdout=subprocess.PIPE, text=True)
    peak, said = 0, ""
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, _memory(watched))
        time.sleep(0.2)
    if process.stdout is not None:
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit("the curation failed; what it wrote stands above")
    print(said, end="")
    return {"seconds": time.monotonic() - began, "peak_mib": peak / 2**20}


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.NoSuchProcess:
        return total
    return total


def work(folder: Path) -> None:
    """What the process of `curated` does: the stage, as the command runs it."""
    from distill.curate.stage import Job, curate
    from distill.curate.verify import VerifierPool
    from distill.curate_sections import Curate
    from distill.student_sections import Student

    prompts = json.loads((folder / "prompts.json").read_text(encoding="utf-8"))
    with VerifierPool() as verifier:
        curate(
            Job(
                section=Curate(),
                student=Student(base="bundled:base"),
                prompts=prompts,
                traces=folder,
                folder=folder / "kept",
                votes=folder / "votes.jsonl",
                verifier=verifier,
                say=lambda line: print(line, flush=True),
            )
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0, help="of reasoning text, generated")
    parser.add_argument("--trace-kb", type=float, default=20.0)
    parser.add_argument("--problems", type=int, default=4, help="traces for each problem")
    parser.add_argument("--peer-python", help="no peer has this; taken as in every bench")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    prose, found = sentences(), {}
    whole = max(8, int(options.gb * 1e6 / options.trace_kb))
    for name, count in (("quarter", whole // 4), ("whole", whole)):
        with tempfile.TemporaryDirectory() as root:
            made = traces(count, int(options.trace_kb * 1000), options.problems, prose)
            shards.write_parts(Path(root), made, Trace)
            prompts = [trace.problem.prompt for trace in traces(40, 100, 1, prose)]
            found[name] = curated(Path(root), prompts)
    small, large = found["quarter"], found["whole"]
    each = (large["peak_mib"] - small["peak_mib"]) / (whole - whole // 4)
    megabytes = whole * options.trace_kb / 1000
    said = {
        "traces": whole,
        "traces_per_s": whole / large["seconds"],
        "mb_per_s": megabytes / large["seconds"],
        "cores": len(os.sched_getaffinity(0)),
        "peak_mib": large["peak_mib"],
        "peak_mib_quarter": small["peak_mib"],
        "kib_per_trace": each * 1024,
        "peak_mib_at_800_thousand": large["peak_mib"] + each * (AIM - whole),
    }
    print(f"{'traces':>10}{'seconds':>10}{'traces/s':>10}{'peak MiB':>10}")
    for count, got in ((whole // 4, small), (whole, large)):
        print(f"{count:>10,}{got['seconds']:>10.0f}{count / got['seconds']:>10,.0f}{got['peak_mib']:>10,.0f}")
    print(json.dumps(said))


if __name__ == "__main__":
    main()
