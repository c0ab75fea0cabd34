"""Verification: answers a second and agreement, the verifier beside math-verify alone.

    python tests/bench/bench_verify.py [--runs 3] [--repeat 20]

Both judge R1's finals on GSM8K (the text after `</think>`) on one core, in turns, the best run of each counts;
math-verify reads them in this process by its default configuration and without its clock, the verifier has its pool
with one worker. Then both are held against each other on all the answers of real models that lie in the data folder,
and every difference is given its reason from the closed list `REASONS`. Last comes what does need math-verify, the
finals on MATH over and over, with one worker on one core and with one for every core, the better of two runs each.
Where the data folder is absent the answers are made here, and what only it can tell is null.
"""

import argparse
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import think
from distill.answers import reference_answer
from distill.curate import compare, forms, mathematics
from distill.curate.final import final
from distill.curate.verify import VerifierPool
from distill.records import Judgement, Problem

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
TRACES = DATA / "r1_mip_gsm8k_math"
R1 = ("gsm8k_normal_deepseekR1.json", "math_normal_deepseekR1.json")
OTHERS = (
    "gsm8k_normal_DSQ.json",
    "gsm8k_normal_Qwen32.json",
    "math_normal_DSQ.json",
    "math_normal_s1.1.json",
    "math_normal_Limo.json",
)
SOLUTIONS = DATA / "gsm8k" / "example_model_solutions.jsonl"

REASONS = (
    *compare.LENIENCES,
    "several boxes",
    "answer tag",
    "unreadable",
    "out of time or memory",
    "reasoning is no answer",
    "only the end of a long text is read",
)
"""Why a judgement may differ from math-verify's own; `unexplained` is whatever has none of these."""


@dataclass(frozen=True)
class Case:
    """A problem, its reference as math-verify alone is given it, and a model's answer without its reasoning."""

    problem: Problem
    reference: str
    text: str
    labelled: bool | None = None


def traces(name: str) -> list[Case]:
    """The answers of one file of the data folder; none where it is absent."""
    path = TRACES / name
    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    cases = []
    for row in rows:
        answer = reference_answer(row["answer"])
        text = think.split(row.get("deepseek-reasoner (question)") or row["model_answer"]).answer
        shown = row["answer"].split("####")[-1].strip() if name.startswith("gsm8k") else f"${answer}$"
        cases.append(Case(Problem.of(row.get("question", text), answer, "math", name), shown, text))
    return cases


def solutions() -> list[Case]:
    """GSM8K's labelled solutions of four models."""
    if not SOLUTIONS.is_file():
        return []
    cases = []
    for row in map(json.loads, SOLUTIONS.open(encoding="utf-8")):
        gold = row["ground_truth"].rpartition("A:")[2].strip()
        for told in row.values():
            if isinstance(told, dict):
                problem = Problem.of(row["question"], gold, "math", "gsm8k")
                cases.append(Case(problem, gold, told["solution"], told["is_correct"]))
    return cases


def made(count: int) -> list[Case]:
    """Answers like R1's on GSM8K, for where there are no real ones: one of ten is wrong, one of ten has no box."""
    drawn = random.Random(0)
    cases = []
    for _ in range(count):
        gold = drawn.randint(1, 5000)
        said = gold if drawn.random() < 0.9 else gold + 1
        value = drawn.choice((f"{said}", f"{said:,}", f"{said}.00", f"\\${said}", f"{said} \\text{{ meters}}"))
        end = f"\\[\n\\boxed{{{value}}}\n\\]" if drawn.random() < 0.9 else f"**Answer:** It takes {said} minutes."
        text = f"First we add \\( {said // 2} + {said - said // 2} = {said} \\) up.\n\nThus:\n\n{end}"
        cases.append(Case(Problem.of(text, str(gold), "math", "made"), str(gold), text))
    return cases


def alone(cases: list[Case]) -> list[bool]:
    """What math-verify says by itself."""
    from math_verify import parse, verify

    return [
        verify(parse(one.reference, parsing_timeout=None), parse(one.text, parsing_timeout=None), timeout_seconds=None)
        for one in cases
    ]


def ours(cases: list[Case], pool: VerifierPool) -> list[Judgement]:
    """What the verifier says."""
    return pool([(one.problem, one.text) for one in cases])


def reason(case: Case, judged: Judgement) -> str:
    """Why the verifier may differ from math-verify on an answer: one of `REASONS`, or "unexplained"."""
    lenient = next((why for why in compare.LENIENCES if f"but for the {why}" in judged.detail), None)
    if lenient:
        return lenient
    if judged.right is None:
        clock = "took longer" in judged.detail or "memory" in judged.detail or "Error" in judged.detail
        return "out of time or memory" if clock else "unreadable"
    said = final(case.text)
    if said is None or think.CLOSE in case.text:
        return "reasoning is no answer"
    if len({forms.written(box) for box in said.boxes}) > 1:
        return "several boxes"
    if said.texts and not said.boxes:
        return "answer tag"
    if judged.right and forms.same_writing(case.problem.answer, said.text):
        return "same writing"
    long = not said.texts and len(said.whole) > mathematics.TAIL
    return "only the end of a long text is read" if long else "unexplained"


@dataclass(frozen=True)
class Held:
    """The verifier held against math-verify on one set of answers."""

    name: str
    cases: list[Case]
    judged: list[Judgement]
    alone: list[bool]

    def differences(self) -> Iterator[tuple[str, Case, Judgement, bool]]:
        """Every answer on which they differ, with its reason; an unverifiable one is not right."""
        for case, judged, right in zip(self.cases, self.judged, self.alone, strict=True):
            if (judged.right is True) != right:
                yield reason(case, judged), case, judged, right

    @property
    def too_lenient(self) -> int:
        """How often the verifier says right where math-verify says wrong."""
        return sum(judged.right is True and not right for _, _, judged, right in self.differences())


def best_rates(cases: list[Case], pool: VerifierPool, runs: int) -> tuple[float, float]:
    """Answers a second of the verifier and of math-verify alone, taking turns."""
    ours(cases[:5], pool), alone(cases[:5])

    def seconds(work: Callable[[], Any]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    timed = [(seconds(lambda: ours(cases, pool)), seconds(lambda: alone(cases))) for _ in range(runs)]
    return len(cases) / min(one for one, _ in timed), len(cases) / min(other for _, other in timed)


def hard_rate(cases: list[Case], workers: int) -> float:
    """Answers a second that do need math-verify, with workers that have answered before."""
    with VerifierPool(workers) as pool:
        ours(cases[: 4 * workers], pool)
        start = time.perf_counter()
        ours(cases, pool)
        return len(cases) / (time.perf_counter() - start)


def hard(finals: list[Case], repeat: int) -> list[Case]:
    """The finals on MATH over and over, each time multiplied by another number, and the references written in another
    way: no string decides them, and nothing is known from the time before."""
    cases = []
    for factor in range(2, repeat + 2):
        for one in finals:
            said = final(one.text)
            if said is not None and "\\" in one.problem.answer and "\\text" not in one.problem.answer:
                problem = Problem.of(one.text, f"{factor} \\cdot ({one.problem.answer})", "math", "bench")
                cases.append(Case(problem, one.reference, f"\\boxed{{({said.text}) \\cdot {factor}}}"))
    return cases


def show(held: list[Held]) -> Counter[str]:
    """Prints the table of agreement and an example of each reason; gives the reasons with their counts."""
    reasons: Counter[str] = Counter()
    print(f"\n{'answers':34}{'n':>6}{'math-verify right':>19}{'right':>7}{'differ':>8}{'too lenient':>13}")
    examples: dict[str, str] = {}
    for one in held:
        right = sum(judged.right is True for judged in one.judged)
        differ = list(one.differences())
        shown = f"{one.name:34}{len(one.cases):>6,}{sum(one.alone):>19,}{right:>7,}{len(differ):>8}"
        print(f"{shown}{one.too_lenient:>13}")
        for why, case, judged, alone_right in differ:
            reasons[why] += 1
            verdict = "right" if alone_right else "wrong"
            said = (
                f"{case.problem.answer!r}, {case.text[-60:]!r}: {judged.right} ({judged.detail}), by itself {verdict}"
            )
            examples.setdefault(why, said)
    for why, count in reasons.items():
        print(f"  {why}: {count}, such as {examples[why]}")
    return reasons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--peer-python", help="math-verify runs in this process; taken as in every bench")
    options = parser.parse_args()
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it warns of the clock that is off by intent
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    files = {name: cases for name in (*R1, *OTHERS) if (cases := traces(name))}
    timed = files.get(R1[0]) or made(500)
    sets = files or {"made": timed}
    labelled = solutions()
    if labelled:
        sets = {**sets, SOLUTIONS.name: labelled}
    with VerifierPool(workers=1) as pool:
        rate, alone_rate = best_rates(timed, pool, options.runs)
        held = [Held(name, cases, ours(cases, pool), alone(cases)) for name, cases in sets.items()]
    print(f"{'on one core':34}{'answers a second':>18}")
    print(f"{'verifier':34}{rate:>18,.0f}\n{'math-verify alone':34}{alone_rate:>18,.0f}")
    finals = hard(files.get(R1[1]) or [], options.repeat)
    one = max(hard_rate(finals, 1) for _ in range(2)) if finals else None
    os.sched_setaffinity(0, cores)
    every = max(hard_rate(finals, len(cores)) for _ in range(2)) if finals else None
    if one and every:
        print(f"{'what needs math-verify, 1 worker':34}{one:>18,.0f}")
        print(f"{f'the same, {len(cores)} workers, {len(cores)} cores':34}{every:>18,.0f}")
    reasons = show(held)
    first = held[: len(R1)] if files else held[:1]
    differed = sum(len(list(one.differences())) for one in first)
    marked = [(case, judged) for one in held for case, judged in zip(one.cases, one.judged, strict=True)]
    labels = [(judged.right is True) == case.labelled for case, judged in marked if case.labelled is not None]
    said = {
        "answers_per_s": rate,
        "math_verify_answers_per_s": alone_rate,
        "ratio": rate / alone_rate,
        "agreed": sum(len(one.cases) for one in first) - differed,
        "differed": differed,
        "too_lenient": sum(one.too_lenient for one in first),
        "differed_by_reason": dict(reasons),
        "labels_agreed": sum(labels) if labels else None,
        "labels": len(labels) if labels else None,
        "hard_answers_per_s_one_worker": one,
        "hard_answers_per_s_all_cores": every,
        "cores": len(cores),
        "real": bool(files),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
