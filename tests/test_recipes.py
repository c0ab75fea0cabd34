"""Every shipped recipe parses; every cross-check has a failing twin whose message says what to write."""

import copy
import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill import plan, recipe, tasknames
from distill.errors import InputError, RecipeError
from distill.gate_sections import checks
from distill.records import Score
from evals.gate import judge

GOOD: dict[str, Any] = {
    "name": "good",
    "problems": [{"kind": "reasoning_gym", "task": "aiw", "size": 3}],
    "teacher": {"kind": "scripted"},
    "student": {"base": "bundled:base", "lora": {"rank": 4}, "quantization": "nf4"},
    "gate": {"tasks": [{"task": "distill_gsm8k", "min": 0.5}, {"task": "distill_bbh_logic", "min": 0.5}]},
}


def write(folder: Path, data: Any) -> str:
    path = folder / "recipe.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_parses(name: str) -> None:
    assert recipe.load(name).name == name


def test_these_recipes_are_shipped() -> None:
    assert recipe.shipped() == [
        "hub-traces-qwen2.5-7b",
        "quickstart",
        "r1-distill-kd-qwen2.5-1.5b",
        "r1-gsm8k-replay",
        "r1-qwen2.5-1.5b",
    ]


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value put in, or taken out for None."""
    data = copy.deepcopy(GOOD)
    at: Any = data
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    if value is None:
        del at[last]
    else:
        at[int(last) if isinstance(at, list) else last] = value
    return data


def score(task: str) -> Score:
    by_problem = {"p1": 1.0, "p2": 0.0}
    return Score(task, tasknames.domain_of(task), "avg@1", 0.5, 0.1, 2, 1, 0.0, by_problem, True, median_tokens=5.0)


MATH_ONLY = [{"task": "distill_gsm8k", "min": 0.5}]
LOGIC_ONLY = [{"task": "distill_bbh_logic", "min": 0.5}]
REPLAY = {"kind": "replay", "path": "x.json", "columns": {"text": "t"}}


SERVED = {"kind": "endpoint", "model": "m", "base_url": "http://127.0.0.1:1/v1"}
WAIVER = {"check": "distill_gsm8k/floor", "reason": "it is a toy and no more", "by": "A. Person"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("studnet", {}, "studnet: there is no such key"),
        ("student.lerning_rate", 1, "student.lerning_rate: there is no such key"),
        ("teacher.kind", "oracle", "oracle"),
        ("student.lora", None, "add `lora: {rank: 64}`"),
        ("gate.tasks", MATH_ONLY, "the gate has no logic task"),
        ("gate.tasks", LOGIC_ONLY, "the gate has no math task"),
        ("gate.tasks", MATH_ONLY * 2 + LOGIC_ONLY, "more than once"),
        ("gate.tasks", [*MATH_ONLY, {"task": "distill_bbh_logic"}], "asks for nothing"),
        ("gate.tasks", [*MATH_ONLY, {"task": "gsm8k", "min": 0.1}], "task 'gsm8k' is not known"),
        ("gate.baselines", ["teacher"], "needs a teacher that can be asked"),
        ("teacher", REPLAY, "take out `problems`"),
        ("problems", None, "there are no problems"),
        ("teacher.max_per_problem", 0, "teacher.max_per_problem"),
        ("teacher.keep_per_problem", 5, "write max_per_problem: 5 or more"),
        ("teacher", {"kind": "endpoint", "model": "m", "base_url": "localhost:8000"}, "http:// or https://"),
        ("teacher", {"kind": "endpoint", "model": "m", "base_url": "http://x", "api_key_env": "sk-1"}, "NAME"),
        ("teacher", REPLAY | {"columns": {"prompt": "p"}}, "write either `text`"),
        ("problems", [{"kind": "dataset", "path": "x.json", "answer_kind": "rule"}], "write math, choice or text"),
        ("name", "../up", "name"),
        ("release", {"to": "hub"}, "write repo: ORG/NAME"),
        ("release", {"to": "hub", "repo": "only-a-name"}, "release.repo"),
        ("release", {"variants": ["nf4", "nf4"]}, "names one twice"),
        ("gate.baselines", ["base", "previous"], "write previous: FOLDER or ORG/NAME"),
        ("gate.max_length_ratio", {"previous": 1.2}, "write it into baselines"),
        ("gate.waive", [{"check": "floor", "reason": "it is a toy", "by": "me"}], "write <task>/<term>"),
        ("gate.waive", [{"check": "distill_aiw/floor", "reason": "toy", "by": "me"}], "gate.waive.0.reason"),
        ("gate.tasks", [{"suite": "maths", "min": 0.1}], "write one of math, logic, r1"),
        ("gate.tasks", [{"suite": ["math", "logic"], "min": 0.1}], "write one of math, logic, r1"),
        ("gate.tasks", [{"suite": "r1", "min": 70}], "suite r1: min: write a number of at most 1, 0.7 for 70 %"),
        ("gate.tasks", [{"suite": "r1", "min": 0.1, "path": "x"}], "suite r1: path is one task's"),
        ("gate.tasks", [{"suite": "math", "min": 0.1}, {"suite": "r1", "min": 0.1}], "has an entry of its own"),
        ("gate.tasks", ["distill_gsm8k"], "'distill_gsm8k' is no task; write {task: distill_gsm8k, min: 0.5}"),
        ("gate.tasks", "distill_gsm8k", "gate.tasks: 'distill_gsm8k' is no list; write one, such as [distill_gsm8k]"),
        ("gate.tasks", [], "gate.tasks: it names 0; write at least 1"),
        ("gate.tasks.0.task", ["distill_gsm8k"], "gate.tasks.0.task: ['distill_gsm8k'] is no text"),
        ("gate.tasks.0.task", "distill_rg_../x", "task 'distill_rg_../x' is not known"),
        ("gate.tasks.0.min", 1.5, "gate.tasks.0.min: write a number of at most 1 (it is 1.5)"),
        ("gate.tasks.0.min", "70%", "gate.tasks.0.min: '70%' is no number"),
        ("gate.tasks.0.min", True, "gate.tasks.0.min: true is no number"),
        ("gate.tasks.0.min", float("nan"), "gate.tasks.0.min: write a number"),
        ("gate.tasks.0.repeats", 0, "gate.tasks.0.repeats: write a number above 0 (it is 0)"),
        ("gate.tasks.0.repeats", 2.5, "gate.tasks.0.repeats: 2.5 is no whole number"),
        ("gate.tasks.0.size", 100, "distill_gsm8k is read, not made, and has no size"),
        ("gate.tasks.0", {"task": "distill_rg_gcd", "min": 0, "path": "x"}, "makes its problems; take out path"),
        ("gate.tasks.0.config", {"day": datetime.date(2026, 1, 1)}, "config takes numbers, texts, lists"),
        ("gate.confidence", 1, "gate.confidence: write a number below 1 (it is 1)"),
        ("gate.until_decided", "maybe", "gate.until_decided: 'maybe' is neither true nor false"),
        ("gate.max_length_ratio", {"base": 0}, "gate.max_length_ratio.base: write a number above 0"),
        ("gate.max_length_ratio", {"base": float("inf")}, "gate.max_length_ratio.base: inf has no end"),
        ("gate.max_length_ratio", {"bass": 1.2}, "'bass' is no key here; write 'base', 'previous' or 'teacher'"),
        ("gate.baselines", ["base", "base"], "baselines names one twice"),
        ("gate.previous", "org/before", "named and not measured; write baselines: [base, previous]"),
        (
            "gate.waive",
            [WAIVER | {"check": "distill_aime24/floor"}],
            "names no task of this gate; write one of distill_gsm8k",
        ),
        (
            "gate.waive",
            [WAIVER | {"check": "distill_gsm8k/drop"}],
            "names no check of this gate; write distill_gsm8k/ and",
        ),
        (
            "gate.waive",
            [WAIVER | {"check": "nf4:distill_gsm8k/floor"}],
            "names no variant of the release; write one of bf16",
        ),
        ("gate.waive", [WAIVER, WAIVER], "gate.waive names a check twice"),
        ("gate.waive", [WAIVER | {"reason": " " * 20}], "gate.waive.0.reason"),
        ("gate.waive", [WAIVER | {"by": " "}], "gate.waive.0.by"),
        ("gate.served", {"nf4": SERVED}, "gate.served.nf4: nf4 is not measured"),
        ("gate.served", {"fp8": SERVED}, "'fp8' is no key here"),
        ("release.variants", [], "release.variants: it names 0"),
        ("release.variants", "nf4", "write one, such as [nf4]"),
        ("release.tag", "a b", "release.tag: 'a b' is no tag's name; write"),
        ("release.tag", 1.0, "release.tag: 1.0 is no text; write it in quotes, '1.0'"),
        ("release.repo", "https://hf.co/a/b", "write ORG/NAME"),
        ("student.objective", {"kind": "on_policy"}, "student.objective"),
        ("student.objective", {"kind": "kd"}, "a scripted one cannot; write student.objective.teacher"),
        ("student.objective", {"kind": "kd", "signals": "captured"}, "write teacher.capture_logprobs: 20"),
        ("student.objective", {"kind": "kd", "cross_entropy": 2}, "student.objective.kd.cross_entropy"),
        ("student.best_by", "loss", "add `holdout: 0.02`"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(tmp_path: Path, path: str, value: Any, says: str) -> None:
    recipe.load(write(tmp_path, GOOD))
    with pytest.raises(RecipeError) as caught:
        recipe.load(write(tmp_path, changed(path, value)))
    assert says in str(caught.value)
    assert caught.value.exit_code == 2
    assert "after validation" not in str(caught.value)  # what only follows from the fault is not told


def test_a_suite_leaves_out_what_is_named_besides_and_gives_sizes_to_what_is_made(tmp_path: Path) -> None:
    tasks = [{"suite": "logic", "min": 0.1, "size": 20}, {"task": "distill_logiqa2", "min": 0.2}, *MATH_ONLY]
    gate = recipe.load(write(tmp_path, changed("gate.tasks", tasks))).gate
    assert [task.min for task in gate.tasks if task.task == "distill_logiqa2"] == [0.2]
    sizes = {task.task: task.size for task in gate.tasks if task.task in tasknames.SUITES["logic"]}
    assert len(sizes) == len(tasknames.SUITES["logic"])
    assert {name for name, size in sizes.items() if size == 20} == {n for n in sizes if n.startswith("distill_rg_")}


def test_what_a_waiver_may_name_is_what_the_gate_checks(tmp_path: Path) -> None:
    data = changed("release", {"variants": ["bf16", "nf4"]})
    data["gate"] |= {
        "baselines": ["base", "previous"],
        "previous": "org/before",
        "max_length_ratio": {"base": 2},
        "max_variant_drop": 0.1,
        "tasks": [*MATH_ONLY, {"task": "distill_bbh_logic", "max_drop": 0.1, "limit": 5}],
    }
    gate = recipe.load(write(tmp_path, data)).gate
    known = checks(gate, ("bf16", "nf4"))
    made = [score(task.task) for task in gate.tasks]
    others = dict.fromkeys(("base", "previous", "bf16"), made)
    told = [*judge(gate, "", "nf4", made, others, contaminated={}).checks, *judge(gate, "", "nf4", [], {}).checks]
    assert {(task, term) for task in known for term in known[task]} == {(one.task, one.term) for one in told}
    named = [f"nf4:{task}/{term}" for task, terms in known.items() for term in terms]
    data["gate"]["waive"] = [WAIVER | {"check": name} for name in named]
    assert len(recipe.load(write(tmp_path, data)).gate.waive) == len(named)


def test_a_key_that_stands_twice_is_told_with_its_line(tmp_path: Path) -> None:
    text = yaml.safe_dump(GOOD, sort_keys=False)
    with pytest.raises(RecipeError, match=r"recipe.yaml, line 2: name stands twice; write it once"):
        recipe.load(write(tmp_path, f"name: other\n{text}"))
    merged = "defaults: &it {min: 0.5}\n" + text
    with pytest.raises(RecipeError, match="defaults: there is no such key"):  # and << is no such key
        recipe.load(write(tmp_path, merged.replace("- task: distill_gsm8k", "- <<: *it\n    task: distill_gsm8k")))


def test_a_replay_without_answers_cannot_verify(tmp_path: Path) -> None:
    data = changed("problems", None) | {"teacher": REPLAY | {"columns": {"text": "t", "answer": None}}}
    with pytest.raises(RecipeError, match="verify: false"):
        recipe.load(write(tmp_path, data))
    recipe.load(write(tmp_path, data | {"curate": {"verify": False}}))


@pytest.mark.parametrize("text", ["- a list", "a: [", "just text", "", "name: 2026-99-99", "? [1]\n: 2", "[" * 3000])
def test_what_is_no_recipe_says_so(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError):
        recipe.load(write(tmp_path, text))


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(RecipeError, match="quickstart"):
        recipe.load("quickstrat")


def test_set_reaches_into_sections_and_lists(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    loaded = recipe.load(path, ("student.seed=0", "gate.tasks.1.limit=7", "curate.decontaminate.ngram=8"))
    assert (loaded.student.seed, loaded.gate.tasks[1].limit, loaded.curate.decontaminate.ngram) == (0, 7, 8)
    for bad in ("student.seed", "gate.tasks.9.limit=1", "name.x=1", "=1"):
        with pytest.raises(RecipeError):
            recipe.load(path, (bad,))


def test_the_domains_of_procedural_tasks_are_the_librarys_own() -> None:
    from reasoning_gym.factory import DATASETS

    kinds = {name: entry[0].__module__.split(".")[1] for name, entry in DATASETS.items()}
    assert {name for name, kind in kinds.items() if kind == "logic"} == set(tasknames.RG_LOGIC)
    mathematics = {name for name, kind in kinds.items() if kind in ("arithmetic", "algebra", "geometry")}
    assert mathematics == set(tasknames.RG_MATH)


def prints(tmp_path: Path, data: dict[str, Any]) -> dict[str, str]:
    return plan.fingerprints(recipe.load(write(tmp_path, data)))


@pytest.mark.parametrize(
    ("path", "value", "first"),
    [
        ("problems.0.size", 4, "problems"),
        ("teacher.right", 0.5, "sample"),
        ("curate.verify", False, "curate"),
        ("gate.tasks.0", {"task": "distill_math500", "min": 0.5}, "curate"),
        ("student.seed", 1, "train"),
        ("gate.tasks.0.min", 0.6, "gate"),
        ("gate.confidence", 0.9, "gate"),
    ],
)
def test_a_change_reruns_its_stage_and_what_follows(tmp_path: Path, path: str, value: Any, first: str) -> None:
    before, after = prints(tmp_path, GOOD), prints(tmp_path, changed(path, value))
    stages = list(before)
    assert [stage for stage in stages if before[stage] != after[stage]] == stages[stages.index(first) :]


def test_what_is_missing_stops_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = {"kind": "endpoint", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "NO_SUCH_KEY"}
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
        plan.check(recipe.load(write(tmp_path, changed("teacher", endpoint))), ["sample"])
    with pytest.raises(InputError, match=r"student.base: there is no model folder ./nowhere"):
        plan.check(recipe.load(write(tmp_path, changed("student.base", "./nowhere"))), ["train"])
    monkeypatch.setenv("NO_SUCH_KEY", " ")
    measured = changed("teacher", endpoint)
    measured["gate"] |= {"baselines": ["base", "teacher"]}
    for stage in ("sample", "gate"):
        with pytest.raises(InputError, match="NO_SUCH_KEY is not set"):
            plan.check(recipe.load(write(tmp_path, measured)), [stage])
    monkeypatch.setenv("NO_SUCH_KEY", "key")
    plan.check(recipe.load(write(tmp_path, measured)), ["sample", "gate"])
    measured["teacher"] = {"kind": "local", "model": "./nowhere"}
    with pytest.raises(InputError, match=r"teacher.model: there is no model folder ./nowhere"):
        plan.check(recipe.load(write(tmp_path, measured)), ["gate"])
