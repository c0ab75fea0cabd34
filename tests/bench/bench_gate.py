"""How often the gate errs, how often it passes who deserves it, and what asking in rounds saves.

    python tests/bench/bench_gate.py [--runs 2000]

Students are simulated whose true value is known: exactly on a floor (or a maximum drop), and 3 points on the right
side of it. Their problems are all alike, known or not, of every difficulty, or hopeless in a few cases. `false_pass_*`
is the share of those exactly on the threshold that passes, of the kind and size that passes most often (stated: 0.05);
`power_*` and `power_foretold` are those of GSM8K's 1,319 problems with 4 samples each, 3 points above a floor of 0.7;
`saved_share` is the share of the samples that rounds did not ask, over students at several distances from that floor,
and `saved_share_drop` the same for a maximum drop. `kept` says whether every forecast was reached. `spendings` compares
ways to spend the error over the looks, on normal means: the share of the problems that is asked of students 5 standard
errors above the threshold, and the share of those 2.5 above that passes; `one_look` is what one look at the end passes.
"""

import argparse
import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from evals.power import chance
from evals.sequential import POWER, SHARES, SPENT, crossings, levels, looks

CONFIDENCE, MARGIN = 0.95, 0.03
SIZES, SAMPLES = (30, 100, 500), (1, 4, 16)
ACCURACIES = (0.5, 0.9, 0.98)
DROPS = ((0.5, 0.01), (0.9, 0.03))
"""(the base's accuracy, how far the student is behind it)."""
PROBLEMS, FLOOR, K = 1319, 0.7, 4
DISTANCES = (-0.2, -0.1, -0.05, 0.03, 0.05, 0.1, 0.2)
"""Of a student's true value from the floor."""
ERROR = (1 - CONFIDENCE) * SPENT
SPENDINGS: dict[str, Callable[[float], float]] = {
    "ours": lambda share: ERROR * share**POWER,
    "obrien_fleming": lambda share: float(2 * ndtr(ndtri(ERROR / 2) / math.sqrt(share))),
    "pocock": lambda share: ERROR * math.log(1 + (math.e - 1) * share),
}
"""What is spent after a share of the problems: ours as in `levels`, the others by Lan and DeMets (1983)."""
NEAR, FAR = 2.5, 5.0
"""Margins in standard errors of the mean over all problems."""


def simulated() -> ModuleType:
    """The students of the tests."""
    path = Path(__file__).parents[1] / "evals" / "simulated.py"
    spec = importlib.util.spec_from_file_location("evals_simulated", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def errors(on: ModuleType, runs: int) -> dict[str, float]:
    """Who passes exactly on the threshold, by the worst kind of student."""
    worst = {"floor": (0.0, 0.0), "drop": (0.0, 0.0)}
    print(
        f"\n{'exactly on the threshold':28}{'problems':>9}{'one look':>10}{'rounds':>9}   the worst of all kinds and k"
    )
    for term in worst:
        for n in SIZES:
            fixed = rounds = 0.0
            for k in SAMPLES:
                kinds = (
                    [kind for mean in ACCURACIES for kind in on.floor_populations(k, mean)]
                    if term == "floor"
                    else [kind for base, drop in DROPS for kind in on.drop_populations(k, base, drop)]
                )
                for kind in kinds:
                    said = on.run(kind, n, kind.mean, 10_000 + n + k, runs=runs)
                    fixed, rounds = max(fixed, said.fixed), max(rounds, said.rounds)
            print(f"{term:28}{n:>9}{fixed:>10.4f}{rounds:>9.4f}")
            worst[term] = (max(worst[term][0], fixed), max(worst[term][1], rounds))
    return {
        "false_pass_fixed": worst["floor"][0],
        "false_pass_sequential": worst["floor"][1],
        "false_pass_fixed_drop": worst["drop"][0],
        "false_pass_sequential_drop": worst["drop"][1],
    }


def power(on: ModuleType, runs: int) -> dict[str, Any]:
    """Who passes 3 points on the right side, against the forecast; the figures are those of the least forecast."""
    ends = looks(PROBLEMS)
    least: dict[str, Any] = {}
    kept = True
    print(f"\n{'3 points on the right side':28}{'one look':>10}{'foretold':>10}{'rounds':>9}{'foretold':>10}")
    cases = [("", kind, FLOOR) for kind in on.floor_populations(K, FLOOR + MARGIN)]
    cases += [("drop, ", kind, kind.mean - MARGIN / 2) for kind in on.drop_populations(K, 0.7, 0.005)]
    for term, kind, threshold in cases:
        said = on.run(kind, PROBLEMS, threshold, 77, runs=runs, fails=True)
        one, last = (
            chance(PROBLEMS, kind.mean, threshold, kind.variance, levels(made, PROBLEMS, CONFIDENCE)[-1])
            for made in ((PROBLEMS,), ends)
        )
        kept = kept and said.fixed >= one and said.rounds >= last
        print(f"{term + kind.name:28}{said.fixed:>10.3f}{one:>10.3f}{said.rounds:>9.3f}{last:>10.3f}")
        if not term and one <= least.get("power_foretold", 1.0):
            least = {"power_fixed": said.fixed, "power_sequential": said.rounds}
            least |= {"power_foretold": one, "power_foretold_sequential": last}
    return {**least, "kept": kept}


def savings(on: ModuleType, runs: int) -> dict[str, float]:
    """What is not asked, by the student's distance from the threshold."""
    print(f"\n{'distance in points':28}{'passes':>10}{'asked':>9}{'saved':>9}   of {PROBLEMS:,} problems x {K}")
    saved: dict[str, list[float]] = {"saved_share": [], "saved_share_drop": []}
    for distance in DISTANCES:
        kind = next(kind for kind in on.floor_populations(K, FLOOR + distance) if kind.name == "beta")
        said = on.run(kind, PROBLEMS, FLOOR, 5, runs=runs, fails=True)
        saved["saved_share"].append(1 - said.asked)
        print(f"{'floor':18}{distance * 100:>+10.0f}{said.rounds:>10.3f}{said.asked:>9.2f}{1 - said.asked:>9.2f}")
    for distance in DISTANCES:
        kind = next(kind for kind in on.drop_populations(K, 0.7, 0.01 - distance) if kind.name.startswith("hard"))
        said = on.run(kind, PROBLEMS, (1 - 0.01) / 2, 5, runs=runs, fails=True)
        saved["saved_share_drop"].append(1 - said.asked)
        print(
            f"{'maximum drop':18}{distance * 100:>+10.0f}{said.rounds:>10.3f}{said.asked:>9.2f}{1 - said.asked:>9.2f}"
        )
    return {name: sum(shares) / len(shares) for name, shares in saved.items()}


def spendings() -> dict[str, dict[str, float]]:
    """How early a far student passes, and how often a near one, by how the error is spent. Not by `--runs`: cheap."""
    times = np.array(SHARES)
    steps = np.sqrt(np.diff([0.0, *SHARES]))
    motions = (np.random.default_rng(3).standard_normal((200_000, len(SHARES))) * steps).cumsum(axis=1)
    found: dict[str, dict[str, float]] = {}
    print(f"\n{'the error is spent by':28}{'asked at +5':>12}{'passes at +2.5':>16}   standard errors")
    for name, spent in SPENDINGS.items():
        heights = np.array(crossings(SHARES, [spent(share) for share in SHARES])) * np.sqrt(times)
        near, far = (motions + margin * times >= heights for margin in (NEAR, FAR))
        asked = times[np.where(far.any(axis=1), far.argmax(axis=1), -1)].mean()
        found[name] = {"asked": round(float(asked), 3), "passes": round(float(near.any(axis=1).mean()), 3)}
        print(f"{name:28}{found[name]['asked']:>12.2f}{found[name]['passes']:>16.3f}")
    found["one_look"] = {"asked": 1.0, "passes": round(float(ndtr(NEAR + ndtri(ERROR))), 3)}
    print(f"{'one look at the end':28}{1:>12.2f}{found['one_look']['passes']:>16.3f}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--peer-python", help="no peer has a gate; taken as in every bench")
    options = parser.parse_args()
    began, on = time.process_time(), simulated()
    print(f"{options.runs:,} runs of each, at {CONFIDENCE:.0%} confidence; in rounds of {looks(PROBLEMS)} problems")
    found = {**errors(on, options.runs), **power(on, options.runs), **savings(on, options.runs)}
    found["spendings"] = spendings()
    print(json.dumps({**found, "runs": options.runs, "seconds": round(time.process_time() - began, 1)}))


if __name__ == "__main__":
    main()
