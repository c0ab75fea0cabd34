"""Stories and release folders for the tests: reports that passed, tiny files for weights, and a pusher to be killed."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi

import distill.release
from distill import shards
from distill.recipe import Recipe
from distill.records import Check, Completion, GateReport, Kept, Problem, Ruling, Sampling, Score, Trace
from distill.release import layout, publish
from distill.release.hub import Pushed, push
from distill.release.story import Story

REPO = "org/student"


def score(task: str, domain: Any, smoke: bool = False) -> Score:
    return Score(task, domain, "avg_at_k", 0.75, 0.1, 4, 2, 0.0, {"a": 0.5, "b": 1.0, "c": 0.5, "d": 1.0}, smoke)


def report(variant: str, outcome: Any = "pass", waiver: str = "", smoke: bool = False) -> GateReport:
    scores = (score("distill_gsm8k", "math", smoke), score("distill_bbh_logic", "logic", smoke))
    base = tuple(score(one.task, one.domain) for one in scores)
    check = Check("distill_gsm8k", "floor", 0.75, 0.6, 0.5, outcome, "0.750, at least 0.600", 0.6, 0.9, waiver)
    return GateReport("4-student/merged", variant, scores, {"base": base}, (check,), 0.95)


def recipe(**release: Any) -> Recipe:
    """A recipe whose teacher, base and problems are free."""
    return Recipe.model_validate(
        {
            "name": "student",
            "problems": [{"kind": "reasoning_gym", "task": "basic_arithmetic", "size": 10}],
            "teacher": {"kind": "scripted"},
            "student": {"base": "bundled:base", "lora": {"rank": 4}},
            "gate": {"tasks": [{"task": "distill_gsm8k", "min": 0.5}, {"task": "distill_bbh_logic", "min": 0.5}]},
            "release": {"to": "hub", "repo": REPO, **release},
        }
    )


def story(reports: list[GateReport] | None = None, fingerprint: str = "f1", **release: Any) -> Story:
    made = recipe(**release)
    sealed = {"fingerprint": fingerprint, "sealed": "2026-11-20T10:00:00Z", "seconds": 1.0}
    manifests: dict[str, dict[str, Any]] = {
        "problems": {"problems": 10, "counts": {"problems": 10}},
        "sample": {
            "teacher": "scripted",
            "served_models": ["scripted"],
            "providers": [],
            "traces": 10,
            "failed": 0,
            "first_created": "2026-11-01",
            "last_created": "2026-11-02",
            "cost_usd": None,
            "spent_usd": None,
            "completion_tokens": 200,
            "prompt_tokens": 100,
        },
        "curate": {
            "read": 10,
            "kept": 8,
            "tokens": 160,
            "dropped": {"wrong_answer": 2},
            "by_source": {},
            "by_task": {},
            "decontaminated_against": ["distill_gsm8k"],
        },
        "train": {
            "base": "bundled:base",
            "base_revision": "",
            "quantization": "none",
            "adapter": True,
            "steps": 5,
            "learning_rate": 1e-4,
            "step": 5,
            "chosen_step": 5,
            "tokens": 1000,
            "loss_tokens": 800,
            "traces": 8,
            "held_out": 0,
            "too_long": 0,
            "tokens_per_s": 100.0,
            "peak_memory_gib": 0.5,
        },
        "gate": {"passed": True, "confidence": 0.95, "variants": {}, "contaminated": {}, "waived": [], "merge": {}},
    }
    return Story(
        made,
        {stage: {"stage": stage, **sealed, **facts} for stage, facts in manifests.items()},
        reports if reports is not None else [report(variant) for variant in made.release.variants],
    )


def kept(count: int = 3) -> list[Kept]:
    """Traces as curation keeps them."""
    rows = []
    for i in range(count):
        problem = Problem.of(f"What is {i}+1?", str(i + 1), "math", "test", level=i)
        answer = Completion(f"{i} and one.", f"\\boxed{{{i + 1}}}", "stop", 10, 20, "scripted")
        rows.append(
            Kept(
                id=Trace.name(problem, 0),
                problem=problem,
                completion=answer,
                teacher="scripted",
                seed=0,
                sampling=Sampling(),
                cost_usd=None,
                created="2026-11-01",
                seconds=1.0,
                tokens=10,
                rulings=(Ruling("rule", True),),
            )
        )
    return rows


def run(root: Path, variants: tuple[str, ...], mark: str = "1", extra: str = "") -> Path:
    """What a run leaves that a release is made of, with tiny files for weights; `mark` tells releases apart."""
    for variant in variants:
        _write(root / "variants" / variant / "config.json", f'{{"mark": "{mark}"}}')
        _write(root / "variants" / variant / "model.safetensors", f"{variant} weights {mark}")
        if extra:
            _write(root / "variants" / variant / extra, f"only in {mark}")
    _write(root / "5-gate" / "reports.json", "[]")
    shards.write_parts(root / "3-kept", kept(), Kept)
    for who in (*variants, "base"):
        _write(root / "scores" / who / "distill_gsm8k" / "results_2026-11-20T10-00-00.json", f'{{"mark": "{mark}"}}')
        row = f'{{"doc_id": 0, "doc": {{"id": "a"}}, "resps": [["{who} {mark}"]], "avg_at_k": 1.0}}\n'
        _write(root / "scores" / who / "distill_gsm8k" / "samples_distill_gsm8k_2026-11-20T10-00-00.jsonl", row)
        _write(root / "scores" / who / "distill_gsm8k.json", "{}")
    return root


def released(root: Path, told: Story, mark: str = "1", extra: str = "") -> Path:
    """A release folder as `publish` writes it."""
    made = run(root, told.recipe.release.variants, mark, extra)
    variants: dict[str, Path] = {name: made / "variants" / name for name in told.recipe.release.variants}
    lineage = [made / "5-gate" / "reports.json", *sorted((made / "3-kept").glob("part-*.parquet"))]
    return Path(publish(told, variants, lineage, made / "scores", made / "6-release" / "student").path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def quiet(line: str) -> None:
    """Says nothing."""


def pushed(
    told: Story, folder: Path, url: str, say: Any = quiet, adopt: bool = False, token: str | None = "hf_writer"
) -> Pushed:
    """A push as a run makes it, with its memory beside the folder."""
    memory = folder.parent / "pushing.json"
    return push(told, folder, memory, adopt=adopt, say=say, api=HfApi(endpoint=url, token=token))


def alone(patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Sets huggingface_hub to a server that speaks no Xet, without this machine's token, and without pauses."""
    patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    patch.delenv("HF_TOKEN", raising=False)
    patch.setattr(time, "sleep", lambda seconds: None)


def plain_cards(patch: Callable[[Any, str, Any], None]) -> None:
    """Short cards that say where they stand: what is tested with them is where they go."""
    patch(distill.release, "model_card", lambda story: card(story.name))
    patch(layout, "model_card", lambda story, **where: card(f"{story.name} {sorted(where.items(), key=str)}"))
    patch(layout, "records_card", lambda story, repo, tag: card(f"records {repo} {tag}"))
    patch(layout, "traces_card", lambda story, repo, tag: card(f"traces {repo} {tag}"))


def card(text: str) -> str:
    return f"---\nlicense: mit\n---\n{text}\n"


if __name__ == "__main__":
    plain_cards(setattr)
    where, url, fingerprint, variants, repos = sys.argv[1:6]
    told = story(fingerprint=fingerprint, variants=variants.split(","), repos=repos, traces=True)
    print(pushed(told, Path(where), url).tag)
