"""A run's folder as a whole road leaves it, made up: plausible numbers, and any text in the place of every text."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from distill import shards
from distill.records import Check, Completion, GateReport, Kept, Outcome, Problem, Sampling, Score
from distill.run import STAGES, Run, write_json, write_text

SKILL = {"base": 0.35, "teacher": 0.96, "previous": 0.6, "bf16": 0.86, "nf4": 0.84, "int8": 0.85}
STYLE = {"base": 400.0, "teacher": 1400.0, "previous": 1000.0, "bf16": 1200.0, "nf4": 1250.0, "int8": 1210.0}
LIMIT = 8192


@dataclass(frozen=True)
class Made:
    """What is made. `text` is put into everything that may hold anybody's text, `raw` into answers, which may hold what
    no file can; `k` samples are drawn of each of `n_problems` problems of each task."""

    name: str = "r1-qwen2.5-1.5b"
    tasks: tuple[str, ...] = ("distill_gsm8k", "distill_math500", "distill_bbh_logic", "distill_rg_zebra_puzzles")
    baselines: tuple[str, ...] = ("base", "teacher")
    variants: tuple[str, ...] = ("bf16", "nf4")
    base: str = "Qwen/Qwen2.5-Math-1.5B"
    n_problems: int = 120
    k: int = 2
    text: str = ""
    raw: str = ""
    seed: int = 1
    max_tokens: int = LIMIT


def make(root: Path, made: Made = Made()) -> Run:
    """The run with every stage sealed, its gate open."""
    run = Run(root)
    scores = {
        name: [_score(run, made, name, task) for task in made.tasks] for name in (*made.baselines, *made.variants)
    }
    reports = [_report(made, name, scores) for name in made.variants]
    write_json(run.folder("gate") / "reports.json", [shards.to_row(report) for report in reports])
    gate = {"sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": made.max_tokens}, "previous": "org/before"}
    teacher = {"model": f"deepseek-ai/DeepSeek-R1{made.text}"}
    write_json(
        root / "recipe.json",
        {"name": made.name + made.text, "gate": gate, "teacher": teacher, "student": {"base": made.base}},
    )
    _kept(run, made)
    write_text(run.folder("train") / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in _metrics()))
    for stage, facts in _facts(made, reports).items():
        run.seal(stage, "0" * 16, facts)
    return run


def unseal(run: Run, *stages: str) -> None:
    """Takes the seals off, as if the stages were not done."""
    for stage in stages:
        (run.root / STAGES[stage] / "manifest.json").unlink()


def answers(made: Made, name: str, task: str) -> Iterator[tuple[str, list[tuple[str, Completion]]]]:
    """For each problem's id its answers, each with its mark."""
    luck = random.Random(f"{made.seed} {name} {task}")
    for at in range(made.n_problems):
        hard = random.Random(f"{made.seed} {task} {at}").gauss(0, 0.25)
        answered = []
        for _ in range(made.k):
            right = luck.random() < SKILL[name] + hard
            tokens = min(made.max_tokens, int(STYLE[name] * 2.718 ** luck.gauss(0, 0.7 if right else 1.0)))
            mark = "unfinished" if tokens >= made.max_tokens else "right" if right else "wrong"
            answered.append((mark, _completion(made, at, mark, tokens)))
        yield f"{task}-{at:04d}", answered


def _completion(made: Made, at: int, mark: str, tokens: int) -> Completion:
    steps = [
        f"Step {step}: {at} + {step} is {at + step}. Wait, let me check this once more." for step in range(tokens // 80)
    ]
    said = {"right": f"The answer is \\boxed{{{at}}}.", "wrong": f"So it is \\boxed{{{at + 1}}}.", "unfinished": ""}[
        mark
    ]
    thinking = "\n".join(["Okay, let's see.", made.text + made.raw, *steps])
    finish: Any = "length" if mark == "unfinished" else "stop"
    return Completion(thinking, said and f"{said}\n{made.text}{made.raw}", finish, 90, tokens, "student")


def _score(run: Run, made: Made, name: str, task: str) -> Score:
    by_problem, marks, tokens, lines = {}, [], [], []
    for at, (problem, answered) in enumerate(answers(made, name, task)):
        own = [mark for mark, _ in answered]
        by_problem[problem] = own.count("right") / len(own)
        marks += own
        tokens += [said.probable_tokens for _, said in answered]
        ask = f"What is {at} and nothing?{made.text}\nPlease reason step by step."
        doc = {"id": problem, "ask": ask, "answer": f"{at}{made.text}"}
        resps = [[json.dumps(shards.to_row(said)) for _, said in answered]]
        seeds = [1234 + draw for draw in range(len(own))]
        lines.append(json.dumps({"doc": doc, "resps": resps, "seeds": seeds, "marks": own}) + "\n")
    folder = run.folder("gate") / "scores" / name / task
    write_text(folder / f"samples_{task}_2026-11-25T10-00-00.000000.jsonl", "".join(lines))
    values = list(by_problem.values())
    return Score(
        task=task,
        domain="math" if "gsm" in task or "math" in task else "logic",
        metric=f"avg@{made.k}",
        value=fmean(values),
        stderr=stdev(values) / len(values) ** 0.5,
        n_problems=len(values),
        k_samples=made.k,
        unfinished=marks.count("unfinished") / len(marks),
        by_problem=by_problem,
        smoke=False,
        tokens=sum(tokens),
        median_tokens=median(tokens),
        planned=len(values),
    )


def _report(made: Made, name: str, scores: dict[str, list[Score]]) -> GateReport:
    base = scores[made.baselines[0]]
    checks = [one for score, other in zip(scores[name], base, strict=True) for one in _checks(made, score, other)]
    if name == made.variants[-1]:
        waiver = f"the task is out of date, see our note (R. Weaver){made.text}"
        checks[-1] = replace(checks[-1], outcome="fail", measured=0.081, low=0.081, high=0.081, waiver=waiver)
    baselines = {other: tuple(scores[other]) for other in made.baselines}
    return GateReport("4-student/model", name, tuple(scores[name]), baselines, tuple(checks), 0.95)


def _checks(made: Made, score: Score, base: Score) -> list[Check]:
    half = 1.645 * score.stderr
    drop, wide = base.value - score.value, 1.645 * (score.stderr**2 + base.stderr**2) ** 0.5
    ratio = score.median_tokens / base.median_tokens
    found = [
        ("floor", score.value, half, 0.6, score.value - half >= 0.6),
        ("drop", drop, wide, 0.01, drop + wide <= 0.01),
        ("length:base", ratio, 0.2, 4.0, ratio <= 4),
        ("contamination", 0.0, 0.0, 0.0, True),
        ("unboxed", 0.004, 0.0, 0.05, True),
        ("unfinished", score.unfinished, 0.0, 0.05, score.unfinished <= 0.05),
    ]
    return [
        _check(score.task + made.text, term, (measured, margin, needed), good, made.text)
        for term, measured, margin, needed, good in found
    ]


def _check(task: str, term: str, figures: tuple[float, float, float], good: bool, text: str) -> Check:
    measured, margin, needed = figures
    outcome: Outcome = "pass" if good else "undecided" if abs(measured - needed) < margin else "fail"
    why = f"{task} measured {measured:.4f}; {needed:.4f} is needed.{text}"
    return Check(task, term, measured, measured - margin, needed, outcome, why, measured - margin, measured + margin)


def _kept(run: Run, made: Made) -> None:
    luck = random.Random(made.seed)
    shards.write_parts(run.folder("curate"), (_trace(luck, at) for at in range(2000)), Kept)


def _trace(luck: random.Random, at: int) -> Kept:
    problem, tokens = Problem.of(f"What is {at}?", str(at), "math", "made"), int(1125 * 2.718 ** luck.gauss(0, 0.6))
    said = Completion("Okay.", f"\\boxed{{{at}}}", "stop", 50, tokens, "deepseek-r1")
    created = "2026-11-24T09:00:00Z"
    return Kept(f"{problem.id}#0", problem, said, "R1", 0, Sampling(), 0.003, created, 20.0, tokens, ())


def _metrics() -> Iterator[dict[str, Any]]:
    luck = random.Random(3)
    for step in range(1, 601):
        yield {"step": step, "loss": 0.45 + 1.1 * 2.718 ** (-step / 90) + luck.gauss(0, 0.04), "seconds": float(step)}
        if step % 100 == 0:
            yield {"step": step, "held_out_loss": 0.5 + 1.0 * 2.718 ** (-step / 90)}


def _facts(made: Made, reports: list[GateReport]) -> dict[str, dict[str, Any]]:
    text = made.text
    dropped = {"unfinished": 61, "contaminated": 29, "wrong_answer": 212, "near_duplicate": 5}
    source = {"read": 2307, "kept": 2000, "dropped": dropped}
    difference = {"kl": 2.1e-6, "largest_logit_difference": 0.0412, "other_likeliest": 0.0}
    return {
        "problems": {"problems": 2400, "counts": {"problems": 2400}, "seconds": 4.1},
        "sample": {
            "traces": 2307,
            "failed": 12,
            "teacher": f"deepseek-ai/DeepSeek-R1-0528{text}",
            "served_models": [f"deepseek-r1-0528{text}"],
            "providers": [f"Parasail{text}"],
            "completion_tokens": 3_912_400,
            "traces_without_token_counts": 0,
            "cost_usd": 9.81,
            "spent_usd": 10.02,
            "first_created": "2026-11-24T09:00:00Z",
            "last_created": "2026-11-24T11:40:00Z",
            "seconds": 9614.0,
        },
        "curate": {
            "read": 2307,
            "kept": 2000,
            "tokens": 2_950_111,
            "dropped": dropped,
            "by_source": {f"open-r1/OpenR1-Math-220k{text}": source},
            "by_task": {f"distill_gsm8k{text}": {"ngram": 27, "reworded": 2}},
            "decontaminated_against": [f"{task}{text}" for task in made.tasks],
            "seconds": 41.0,
        },
        "train": {
            "path": "4-student/model",
            "base": made.base + text,
            "base_revision": "",
            "adapter": True,
            "step": 600,
            "quantization": "nf4",
            "traces": 1960,
            "held_out": 40,
            "steps": 600,
            "tokens": 5_900_222,
            "loss_tokens": 5_700_000,
            "tokens_per_s": 2214.5,
            "peak_memory_gib": 10.61,
            "learning_rate": 1e-4,
            "trainable_parameters": 36_929_536,
            "parameters": 1_543_714_304,
            "held_out_loss": 0.503,
            "seconds": 2664.0,
        },
        "gate": {
            "passed": all(report.passed for report in reports),
            "closed_because": "; ".join(check.why for report in reports for check in report.checks if not check.open),
            "confidence": 0.95,
            "merge": {"positions": 256, "merged": difference, "into_original": difference | {"kl": 0.0031}},
            "waived": [],
            "seconds": 1201.0,
        },
        "release": {"path": f"6-release/{made.name}{text}", "files": {}, "seconds": 3.3},
    }
