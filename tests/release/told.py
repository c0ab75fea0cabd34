"""Stories for the tests of cards, results and licences: a recipe with some of it changed, and manifests and reports as
a run leaves them."""

import json
from typing import Any

from distill.recipe import Recipe
from distill.records import Check, GateReport, Score
from distill.release.story import Story

REPLAY = {
    "kind": "replay",
    "path": "open-thoughts/OpenThoughts-114k",
    "model": "deepseek-ai/DeepSeek-R1",
    "columns": {"text": "text"},
}
HOSTILE = (
    'R1`|</script><img src=x onerror=alert(1)>\n---\nlicense: mit\n[x](javascript:alert(1)) https://evil.example ‮$x "'
)


def recipe(**changes: Any) -> Recipe:
    """A recipe that distils R1 into Qwen2.5-Math-1.5B; `changes` replace sections, and single keys of release."""
    data: dict[str, Any] = {
        "name": "student",
        "problems": [
            {"kind": "dataset", "path": "open-r1/OpenR1-Math-220k", "limit": 20000},
            {"kind": "reasoning_gym", "task": "knights_knaves", "size": 5000},
        ],
        "teacher": endpoint("deepseek-ai/DeepSeek-R1"),
        "student": {"base": "Qwen/Qwen2.5-Math-1.5B", "lora": {"rank": 4}, "quantization": "nf4"},
        "gate": {
            "tasks": [
                {"task": "distill_gsm8k", "min": 0.5, "max_drop": 0.01, "repeats": 4},
                {"task": "distill_mmlu_pro_logic", "min": 0.5, "repeats": 1},
                {"task": "distill_rg_zebra_puzzles", "min": 0.1, "size": 3, "repeats": 2},
            ]
        },
        "release": {"to": "hub", "repo": "org/student", "variants": ["bf16", "nf4"]},
    }
    for name, value in changes.items():
        data[name] = data["release"] | value if name == "release" else value
    return Recipe.model_validate({key: value for key, value in data.items() if value is not None})


def endpoint(model: str, url: str = "http://localhost:8000/v1", **more: Any) -> dict[str, Any]:
    return {"kind": "endpoint", "model": model, "base_url": url, **more}


def folder(**changes: Any) -> Recipe:
    """The same for a release in a folder."""
    return recipe(**{"release": {"to": "folder", "repo": None}, **changes})


def score(task: str, domain: Any, n: int, value: float = 0.75, k: int = 4, **more: Any) -> Score:
    by_problem = {f"p{at}": float((at + 1) * value // 1 > at * value // 1) for at in range(n)}  # so many are right
    given: dict[str, Any] = {"planned": n, "pass_at_k": 0.9, "cons_at_k": 0.8, "smoke": False, **more}
    return Score(task, domain, f"avg@{k}", value, 0.012, n, k, 0.02, by_problem, **given)


def scores(shift: float = 0.0, **more: Any) -> tuple[Score, ...]:
    return (
        score("distill_gsm8k", "math", 1319, 0.75 + shift, **more),
        score("distill_mmlu_pro_logic", "logic", 2010, 0.55 + shift, 1, **more),
        score("distill_rg_zebra_puzzles", "logic", 3, 0.5 + shift, 2, **more),
    )


def report(variant: str = "bf16", waiver: str = "", outcome: Any = "pass", **more: Any) -> GateReport:
    checks = (
        Check("distill_gsm8k", "floor", 0.75, 0.73, 0.5, outcome, "it did", 0.73, 0.77, waiver),
        Check("distill_gsm8k", "drop", -0.25, -0.23, 0.01, "pass", "it rose", -0.27, -0.23),
    )
    return GateReport("4-student/model", variant, scores(**more), {"base": scores(-0.25)}, checks, 0.95)


def story(made: Recipe | None = None, reports: Any = None, **facts: Any) -> Story:
    """The story of a recipe; `facts` change what a stage's manifest says."""
    made = made or recipe()
    sealed = {"fingerprint": "f1", "sealed": "2026-11-20T10:00:00Z", "seconds": 12.5}
    manifests: dict[str, dict[str, Any]] = {
        "problems": {"problems": 900, "counts": {"rows": 1000, "duplicates": 100, "problems": 900}},
        "sample": {
            "traces": 1800,
            "failed": 3,
            "teacher": "deepseek-ai/DeepSeek-R1",
            "served_models": ["deepseek-ai/DeepSeek-R1"],
            "providers": ["Parasail"],
            "completion_tokens": 4_000_000,
            "traces_without_token_counts": 0,
            "cost_usd": 9.5,
            "first_created": "2026-11-01T00:00:00+00:00",
            "last_created": "2026-11-02T00:00:00+00:00",
            "spent_usd": 10.25,
            "spent_tokens": 4_100_000,
        },
        "curate": {
            "read": 1800,
            "kept": 1200,
            "tokens": 3_000_000,
            "dropped": {"contaminated": 7, "wrong_answer": 593},
            "by_source": {"open-r1/OpenR1-Math-220k": {"read": 1800, "kept": 1200, "dropped": {}}},
            "by_task": {"distill_gsm8k": {"ngram": 5, "whole": 2}},
            "judge": None,
            "decontaminated_against": ["distill_gsm8k", "distill_mmlu_pro_logic", "distill_rg_zebra_puzzles"],
        },
        "train": {
            "traces": 1200,
            "held_out": 0,
            "too_long": 1,
            "tokens": 9_000_000,
            "loss_tokens": 8_000_000,
            "steps": 300,
            "chosen_step": 300,
            "tokens_per_s": 5000.0,
            "peak_memory_gib": 14.5,
            "learning_rate": 2e-4,
            "base": made.student.base,
            "base_revision": "",
            "adapter": True,
            "quantization": "nf4",
        },
        "gate": {
            "passed": True,
            "confidence": 0.95,
            "variants": {},
            "contaminated": {"distill_gsm8k": 0, "distill_mmlu_pro_logic": 0, "distill_rg_zebra_puzzles": 0},
            "waived": [],
            "merge": {"positions": 256, "merged": {"kl": 2.5e-4}},
        },
    }
    told = {stage: {**sealed, **said, **facts.get(stage, {})} for stage, said in manifests.items()}
    json.dumps(told)  # as on disk
    return Story(made, told, reports if reports is not None else [report(v) for v in made.release.variants])
