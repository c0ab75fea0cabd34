"""Does it distil? The same student, trained for the same number of steps in three ways, on the same problems.

Usage: python tests/bench/bench_distil.py [--steps N] [--seeds N] [--problems N] [--temperature T] [--folder DIR]

The bundled teacher is sampled at a temperature at which it errs. The bundled base then learns by sft on all of its
traces, by sft on those whose answer is right, and by kd on those from the cache of its distributions, with several
seeds each, and solves held-out problems through the gate's own harness. An accuracy's interval is a 95 % one: its
standard error is clustered by problem, the seeds' answers to it being one cluster; differences are paired by problem.
Keys: base, teacher_right, sft_all, sft_verified, kd (accuracy, half_width, seeds), kd_minus_sft, verified_minus_all.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ARMS = {
    "sft_all": ("curate.verify=false", "student.objective={kind: sft, epochs: 1000}"),
    "sft_verified": ("curate.verify=true", "student.objective={kind: sft, epochs: 1000}"),
    "kd": ("curate.verify=true", "student.objective={kind: kd, epochs: 1000, cross_entropy: 0.3}"),
}
Scores = dict[str, float]


def recipe(asked: argparse.Namespace) -> dict[str, Any]:
    """The quickstart's, with a teacher that errs, an adapter on plain weights, and a gate that asks for nothing."""
    made: dict[str, Any] = yaml.safe_load((ROOT / "distill" / "recipes" / "quickstart.yaml").read_text())
    made["name"] = "distil"
    for source, share in zip(made["problems"], (0.65, 0.35), strict=True):
        source["size"] = round(asked.problems * share)
    made["teacher"]["sampling"] |= {"temperature": asked.temperature, "top_p": 1.0}
    made["student"] |= {"quantization": "none", "max_steps": asked.steps}
    made["gate"] |= {"baselines": [], "max_length_ratio": {}, "max_variant_drop": None, "max_unfinished": 1.0}
    made["gate"] |= {"max_repetition": 1.0, "max_unboxed": 1.0}
    for task in made["gate"]["tasks"]:
        task.pop("max_drop")
        task |= {"min": 0.0, "repeats": 1, "size": asked.held_out}
    made["release"] = {"variants": ["bf16"]}
    return made


def distill(folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs the command, and gives what it says of its stages."""
    done = subprocess.run(
        [sys.executable, "-m", "distill.cli", *arguments, "--json"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout)["stages"]
    return found


def scores(folder: Path) -> Scores:
    """Each held-out problem's score, by task and problem."""
    report = json.loads((folder / "runs" / "distil" / "5-gate" / "reports.json").read_text())[0]
    return {
        f"{score['task']}/{problem}": value
        for score in report["scores"]
        for problem, value in json.loads(score["by_problem"]).items()
    }


def mean_and_half_width(values: list[float]) -> tuple[float, float]:
    """The mean, and half of its 95 % interval, over problems."""
    return statistics.fmean(values), 1.96 * statistics.stdev(values) / math.sqrt(len(values))


def clustered(runs: list[Scores]) -> Scores:
    """Each problem's mean over the seeds."""
    return {name: statistics.fmean(run[name] for run in runs) for name in runs[0]}


def difference(one: list[Scores], other: list[Scores]) -> dict[str, float]:
    """Of two ways' accuracies, paired by problem."""
    ours, theirs = clustered(one), clustered(other)
    mean, half = mean_and_half_width([ours[name] - theirs[name] for name in ours])
    return {"difference": round(mean, 4), "half_width": round(half, 4)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=160)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", type=int, default=1500)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=1.8)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "distil.yaml").write_text(yaml.safe_dump(recipe(asked)))
    runs: dict[str, list[Scores]] = {}
    figures: dict[str, Any] = {}
    print(f"{'':14} {'accuracy':>18}   seeds", flush=True)
    for arm, overrides in ARMS.items():
        for seed in range(asked.seeds):
            settings = [f"--set={one}" for one in (*overrides, f"student.seed={seed}")]
            stages = distill(folder, "gate", "distil.yaml", *settings)
            runs.setdefault(arm, []).append(scores(folder))
            if arm == "sft_verified":
                dropped = stages["curate"]["dropped"].get("wrong_answer", 0)
                figures["teacher_right"] = round(1 - dropped / stages["curate"]["read"], 4)
            figures.setdefault("tokens", {}).setdefault(arm, []).append(stages["train"]["tokens"])
        mean, half = mean_and_half_width(list(clustered(runs[arm]).values()))
        seeds = [round(statistics.fmean(run.values()), 4) for run in runs[arm]]
        figures[arm] = {"accuracy": round(mean, 4), "half_width": round(half, 4), "seeds": seeds}
        print(f"{arm:14} {mean:9.1%} ± {half:.1%}   {', '.join(f'{seed:.1%}' for seed in seeds)}", flush=True)
    for name, pair in {
        "verified_minus_all": ("sft_verified", "sft_all"),
        "kd_minus_sft": ("kd", "sft_verified"),
    }.items():
        figures[name] = difference(runs[pair[0]], runs[pair[1]])
        print(f"{name:18} {figures[name]['difference']:+.1%} ± {figures[name]['half_width']:.1%}")
    print(f"the teacher's answers were right in {figures['teacher_right']:.1%} at temperature {asked.temperature}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
