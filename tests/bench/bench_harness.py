"""How fast the gate asks: our harness over the local engine beside lm-eval's own hf backend, on the same work.

Usage: python tests/bench/bench_harness.py [--samples 512] [--batch 64] [--rounds 3] [--peer-python PATH]

The bundled student in float32 on one thread answers sums; how long each answer gets is drawn beforehand, as skewed as
R1's answers to GSM8K (lognormal: median 1,125 tokens, 95 % below 2,893, at most 8,662), in the ninth part of their
length, which is what fits into the student's context. Both sides end each row at its length, and never before: tokens
are counted on both, and must be equal. What is timed is the evaluation after the model is loaded: requests, answers and
scores; on our side the journal and the two files, too. Each round draws other lengths, and runs both sides in turn in
processes of their own; the ratio is the rounds' median, by the clock, and `cpu_ratio` the same by CPU time, which other
work on the machine disturbs less. 64 is the gate's own batch size. lm-eval is our own interpreter's
unless `--peer-python` names another.
Keys: samples_per_s, hf_samples_per_s, ratio, ratios, cpu_ratio, tokens, load.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent


def ran(python: str, script: str, *arguments: int) -> dict[str, Any] | None:
    """What one side printed; None where its interpreter lacks what it needs."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1]), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [python, str(HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE)
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default=sys.executable)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{asked.samples} samples, batches of {asked.batch}, load {load:.2f} before")
    print(
        f"{'round':>5} {'tokens':>8} {'ours':>16} {'lm-eval hf':>16} {'ratio':>6} {'by CPU':>6}   (samples/s, passes)"
    )
    own, other, busy = [], [], []
    for seed in range(asked.rounds):
        work = (asked.samples, seed, asked.batch)
        ours, peer = ran(sys.executable, "our_harness.py", *work), ran(asked.peer_python, "peer_harness.py", *work)
        assert ours is not None
        own.append(asked.samples / ours["seconds"])
        text = "not installed"
        if peer is not None:
            assert peer["tokens"] == ours["tokens"], "the two sides did not do the same work"
            other.append(asked.samples / peer["seconds"])
            busy.append(peer["cpu_s"] / ours["cpu_s"])
            text = f"{other[-1]:8.2f} {peer['passes']:7,} {own[-1] / other[-1]:6.2f} {busy[-1]:6.2f}"
        print(f"{seed:>5} {ours['tokens']:8,} {own[-1]:8.2f} {ours['passes']:7,} {text}", flush=True)
    ratios = [one / two for one, two in zip(own, other, strict=False)]
    figures = {
        "samples_per_s": median(own),
        "hf_samples_per_s": median(other) if other else None,
        "ratio": median(ratios) if ratios else None,
        "ratios": ratios,
        "cpu_ratio": median(busy) if busy else None,
        "tokens": ours["tokens"],
        "load": load,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
