"""The YAML tasks under lm-eval itself: its own command on a real model, its groups, and what each YAML says."""

import json
import subprocess
import sys
from pathlib import Path

import lm_eval
import pytest
import yaml
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from distill import procedural
from distill.catalogue import catalogue, info
from distill.quickstart import __file__ as quickstart
from distill.records import DIRECTIVE
from distill.tasknames import RG_DIFFICULTY, RG_PREFIX, SUITES, TASK_DOMAINS, default_repeats
from evals import metrics

TASKS = Path(metrics.__file__).parent / "tasks"
NAMES = [task["name"] for task in catalogue()]


def manager(**metadata):
    return TaskManager(include_path=str(TASKS), include_defaults=False, metadata=metadata)


@pytest.fixture
def sums(tmp_path):
    """What the bundled teacher can do, in the form of GSM8K."""
    config = {"min_terms": 3, "max_terms": 3, "max_digits": 2, "operators": ["+", "-"]}
    rows = procedural.generate(
        "basic_arithmetic", 6, 5, config | dict.fromkeys(("allow_parentheses", "allow_negation"), False)
    )
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"question": p.prompt, "answer": f"#### {p.answer}"}) + "\n" for p in rows))
    return path


@pytest.mark.slow
def test_lm_evals_own_command_runs_a_task_on_a_local_file(tmp_path, sums):
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "8"]
    command += ["--model_args", f"pretrained={Path(quickstart).parent / 'teacher'},dtype=float32"]
    command += ["--apply_chat_template", "--include_path", str(TASKS), "--tasks", "distill_gsm8k", "--limit", "2"]
    command += ["--gen_kwargs", "max_gen_toks=200", "--output_path", str(tmp_path / "out"), "--log_samples"]
    command += ["--metadata", json.dumps({"path": str(sums), "opened": True})]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    [results] = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())
    assert found["n-samples"]["distill_gsm8k"] == {"original": 6, "effective": 2}
    assert found["configs"]["distill_gsm8k"]["repeats"] == 4
    score = found["results"]["distill_gsm8k"]
    values = {name: score[f"{name},all"] for name in metrics.METRICS}
    assert all(0 <= value <= 1 for value in values.values())
    assert values["avg_at_k"] > 0 and values["unverified"] == 0  # it adds three numbers, and mostly rightly
    [samples] = (tmp_path / "out").rglob("samples_*.jsonl")
    first = json.loads(samples.read_text().splitlines()[0])
    assert len(first["resps"][0]) == 4 and any("</think>" in text for text in first["resps"][0])
    assert DIRECTIVE in first["arguments"]["gen_args_0"]["arg_0"]


class Knowing(LM):
    """Answers rightly what it was told the answer of, and thinks without end about all else."""

    def __init__(self, known):
        super().__init__()
        self.known, self.asked = known, []

    def generate_until(self, requests, disable_tqdm=False):
        self.asked += [request.args[1] for request in requests]
        return [self._say(request.doc["ask"].removesuffix(f"\n{DIRECTIVE}")) for request in requests]

    def _say(self, prompt):
        return f"<think>hm</think>\\boxed{{{self.known[prompt]}}}" if prompt in self.known else "<think>hm"

    def loglikelihood(self, requests):
        raise AssertionError("no task asks for likelihoods")

    loglikelihood_rolling = loglikelihood


def test_a_group_counts_every_task_the_same(tmp_path):
    paths = {}
    for name, count in zip(SUITES["math"], (6, 1, 1, 1, 1), strict=True):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"problem": f"{name} {n}?", "answer": str(n)}) + "\n" for n in range(count)))
        paths[name] = str(path)
    model = Knowing({f"distill_gsm8k {n}?": n for n in range(3)} | {"distill_aime24 0?": "0"})
    found = lm_eval.simple_evaluate(
        model=model, tasks=["distill_math"], task_manager=manager(paths=paths), bootstrap_iters=0
    )
    assert set(found["results"]) == {*SUITES["math"], "distill_math"}
    assert found["results"]["distill_gsm8k"]["avg_at_k,all"] == 0.5
    assert found["results"]["distill_math"]["avg_at_k,all"] == pytest.approx((0.5 + 0 + 1 + 0 + 0) / 5)
    assert found["results"]["distill_math"]["unfinished,all"] == pytest.approx((0.5 + 1 + 0 + 1 + 1) / 5)
    assert len(model.asked) == 6 * 4 + 16 + 64 + 64 + 64
    drawn = {"until": [], "do_sample": True, "temperature": 0.6, "top_p": 0.95, "max_gen_toks": 32768}
    assert all(options == drawn for options in model.asked)


@pytest.mark.parametrize(("family", "change"), [("zebra_puzzles", {"num_people": 3}), ("knights_knaves", {})])
def test_procedural_tasks_run_and_are_scored(family, change):
    first, second = procedural.generate(family, 2, 7, {**RG_DIFFICULTY[family], **change})
    settings = {"size": 2, "first_seed": 7, "config": change, "seed": 1234}  # the last is vLLM's own argument
    model = Knowing({first.prompt: first.answer, second.prompt: "nobody"})
    tasks = manager(family=family, **settings)
    for task in (RG_PREFIX + family, "distill_rg"):
        found = lm_eval.simple_evaluate(model=model, tasks=[task], task_manager=tasks, bootstrap_iters=0)
        score = found["results"][task]
        assert (score["avg_at_k,all"], score["unverified,all"], score["unfinished,all"]) == (0.5, 0, 0)


def test_lm_eval_finds_every_task_and_every_group():
    found = manager()
    assert set(found.all_tasks) == {*NAMES, "distill_rg", *(f"distill_{suite}" for suite in SUITES)}
    assert set(TASK_DOMAINS) <= set(NAMES)


@pytest.mark.parametrize("suite", SUITES)
def test_groups_are_the_recipes_suites(suite):
    group = yaml.safe_load((TASKS / f"distill_{suite}.yaml").read_text())
    assert tuple(group["task"]) == SUITES[suite] and set(group["task"]) <= set(NAMES)
    assert [one["metric"] for one in group["aggregate_metric_list"]] == list(metrics.METRICS)


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_says_source_licence_size_and_metric(name):
    text = (TASKS / f"{name}.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    task = info(name)
    for said in (task.licence, f"{task.size:,} problems", "avg@k", f"k = {task.k}", task.description.split("(")[0]):
        assert said in comment, said
    assert (task.hub.path if task.hub else "reasoning-gym") in comment
    read = yaml.safe_load(text)
    assert (
        read["repeats"] == default_repeats(name) and read["dataset_kwargs"] == {"task": name} and read["task"] == name
    )
    assert (read["metadata"]["source"], read["metadata"]["licence"]) == (task.source, task.licence)
