"""Tokens for each verified trace: asking again only where it is needed, against the same number of attempts for all.

    python tests/bench/bench_attempts.py [--keep 2] [--most 8]

The real sampler asks an engine that is right with each problem's own chance. Chances are, where the data folder lies
beside the checkout, those of GSM8K's labelled solutions (how many of four models' answers to a problem are right), and
a simulated spread from impossible to easy, Beta(0.6, 0.4). The length of an answer is drawn from R1's own on GSM8K,
or log-normally where these are not there; a wrong answer is half as long again, since R1 thinks longer where it fails.
Verified traces count up to `keep` per problem in both: nobody trains on more.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from distill.records import Completion, Failure, Judgement, Problem, Request, Trace, estimated_tokens
from distill.teacher_sections import ScriptedTeacher
from teachers.sampling import LiveTeacher

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
LONGER_WHEN_WRONG = 1.5


class Chances:
    """An engine that answers each problem rightly with the problem's own chance; the same request, the same answer."""

    def __init__(self, chances: dict[str, float], lengths: list[int]) -> None:
        self.chances, self.lengths = chances, lengths

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        waiting: list[Request] = []
        for request in requests:
            if request is not None:
                waiting.append(request)
            if waiting and (request is None or len(waiting) == 64):
                yield self._answer(waiting.pop(0))
        yield from map(self._answer, waiting)

    def _answer(self, request: Request) -> tuple[Request, Completion]:
        drawn = random.Random(request.id)
        right = drawn.random() < self.chances[request.id.partition("#")[0]]
        tokens = int(drawn.choice(self.lengths) * (1 if right else LONGER_WHEN_WRONG))
        return request, Completion("so", "right" if right else "wrong", "stop", 60, tokens, "r1")


def verify(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    return [Judgement(answer == "right") for _, answer in answers]


def measured() -> list[float] | None:
    """A chance for each problem of GSM8K's test, None where the labelled solutions are not there."""
    path = DATA / "gsm8k" / "example_model_solutions.jsonl"
    if not path.is_file():
        return None
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    marks = [[value["is_correct"] for value in row.values() if isinstance(value, dict)] for row in rows]
    return [sum(row) / len(row) for row in marks]


def lengths() -> list[int]:
    """R1's lengths on GSM8K in tokens, as estimated from its text, or drawn like them."""
    path = DATA / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    if path.is_file():
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [estimated_tokens(row["deepseek-reasoner (question)"]) for row in rows]
    drawn = random.Random(0)
    return [int(drawn.lognormvariate(7.1, 0.5)) for _ in range(1000)]


def run(chances: list[float], keep: int, most: int, *, adaptive: bool) -> dict[str, float]:
    """What the sampler spends and gets; verified traces count up to `keep` per problem."""
    problems = [Problem.of(f"problem {at}", "right", "text", "bench") for at in range(len(chances))]
    engine = Chances({problem.id: chance for problem, chance in zip(problems, chances, strict=True)}, lengths())
    section = ScriptedTeacher(kind="scripted", max_per_problem=most, keep_per_problem=keep if adaptive else None)
    outcomes = LiveTeacher(engine, section, "r1", verify if adaptive else None).solve(problems, ())
    traces = [outcome for outcome in outcomes if isinstance(outcome, Trace)]
    right = Counter(trace.problem.id for trace in traces if trace.completion.answer == "right")
    kept = sum(min(keep, count) for count in right.values())
    tokens = sum(trace.completion.completion_tokens or 0 for trace in traces)
    return {"each": tokens / kept, "kept": kept, "reached": len(right) / len(problems), "attempts": len(traces)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=int, default=2)
    parser.add_argument("--most", type=int, default=8)
    parser.add_argument("--peer-python", help="no peer has this; taken as in every bench")
    options = parser.parse_args()
    drawn = random.Random(1)
    spreads = {"GSM8K solutions": measured(), "simulated": [drawn.betavariate(0.6, 0.4) for _ in range(2000)]}
    said: dict[str, float | None] = {}
    print(f"{'spread':18}{'rule':22}{'attempts':>9}{'kept':>7}{'problems reached':>18}{'tokens each':>13}")
    for name, chances in spreads.items():
        prefix = "" if name == "GSM8K solutions" else "simulated_"
        keys = [f"{prefix}{key}" for key in ("tokens_per_verified", "tokens_per_verified_fixed_n", "ratio")]
        if chances is None:
            said |= dict.fromkeys(keys)
            continue
        ours = run(chances, options.keep, options.most, adaptive=True)
        fixed = run(chances, options.keep, options.most, adaptive=False)
        fewest = run(chances, options.keep, options.keep, adaptive=False)
        rules = (
            (f"until {options.keep} of {options.most} verified", ours),
            (f"{options.most} for all", fixed),
            (f"{options.keep} for all", fewest),
        )
        for rule, got in rules:
            print(
                f"{name:18}{rule:22}{got['attempts']:>9,}{got['kept']:>7,}{got['reached']:>18.1%}{got['each']:>13,.0f}"
            )
        said |= dict(zip(keys, (ours["each"], fixed["each"], ours["each"] / fixed["each"]), strict=True))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
