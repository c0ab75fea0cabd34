"""The only module that talks to lm-eval: an engine, a gate and a verifier in, one `Score` per task out.

Each task leaves `<task>.json` (its score under the key of all that made it), and `<task>/results.json` and
`<task>/samples.jsonl`, which are lm-eval's own, with every completion whole. A task whose key is there is not run
again.
"""

import contextlib
import importlib.resources
import io
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import datasets
import lm_eval
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from distill import shards
from distill.errors import DistillError, EngineError
from distill.gate_sections import Gate, GateTask
from distill.records import Engine, Failure, Problem, Request, Sampling, Score, Verifier
from distill.run import fingerprint, hash_path, write_json, write_text
from distill.tasknames import RG_PREFIX
from evals import benchmarks, scoring
from evals.statistics import mean_and_stderr

PROTOCOL = 1
"""Part of every score's key: raise it when what is asked, or how it is scored, changes."""


class EngineLM(LM):  # type: ignore[misc]  # lm-eval is untyped
    """An engine as a model of lm-eval. Each text it returns is a packed completion (`scoring.pack`)."""

    def __init__(self, engine: Engine, model_name: str, seed: int) -> None:
        super().__init__()
        self._engine, self._name, self._seed = engine, model_name, seed

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One completion per instance; the i-th repeat of a document has seed + i. Raises EngineError for a hole."""
        repeats: Counter[str] = Counter()
        asked: list[Request] = []
        for instance in requests:
            prompt, options = instance.args
            name = str(instance.doc["id"])
            seed = self._seed + repeats[name]
            repeats[name] += 1
            sampling = Sampling(options["temperature"], options["top_p"], options["max_gen_toks"])
            asked.append(Request(f"{name}#{seed}", prompt, seed, sampling))
        texts = self._texts(asked)
        missing = [request.id for request in asked if request.id not in texts]
        if missing:
            raise EngineError(f"the engine left {len(missing)} of {len(asked)} samples out, the first is {missing[0]}")
        return [texts[request.id] for request in asked]

    def _texts(self, asked: list[Request]) -> dict[str, str]:
        texts: dict[str, str] = {}
        for request, outcome in self._engine.complete(asked):
            if isinstance(outcome, Failure):
                raise EngineError(
                    f"the sample {request.id} failed after {outcome.attempts} attempts ({outcome.error}: "
                    f"{outcome.message}), and a score with holes is no score"
                )
            texts[request.id] = scoring.pack(outcome)
        return texts

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Raises DistillError: a reasoning model is judged by what it writes."""
        raise DistillError("the gate's tasks are generated, never scored by likelihood")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """Raises DistillError, as `loglikelihood` does."""
        raise DistillError("the gate's tasks are generated, never scored by likelihood")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The user's turn as it is: the engine renders it. Raises DistillError for more than one turn."""
        if [turn["role"] for turn in chat_history] != ["user"]:
            raise DistillError("the R1 protocol is one user turn, without system prompt or examples")
        return chat_history[0]["content"]

    @property
    def tokenizer_name(self) -> str:
        """The model's name."""
        return self._name

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Empty: the engine has it."""
        return ""

    def get_model_info(self) -> dict[str, str]:
        """What lm-eval writes into its results."""
        return {"model": self._name}


class GateRun(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """One YAML task on problems that are already read, without lm-eval's progress bar."""

    def build_all_requests(self, **settings: Any) -> None:
        """As lm-eval builds them, in silence."""
        with contextlib.redirect_stderr(io.StringIO()):
            super().build_all_requests(**settings)


def evaluate(engine: Engine, model_name: str, gate: Gate, verifier: Verifier, folder: Path) -> list[Score]:
    """One score per task of the gate, in its order; a task that `folder` holds under the same key is not run again.

    Unfinished and unverifiable samples count as wrong, and their shares are told apart in the score. Raises InputError
    for data that cannot be read, and EngineError when the engine fails or leaves a sample out.
    """
    scores = []
    for task in gate.tasks:
        key = _key(task, gate, model_name)
        score = _stored(folder / f"{task.task}.json", key)
        if score is None:
            score = _run(EngineLM(engine, model_name, gate.seed), task, gate, verifier, folder / task.task)
            write_json(folder / f"{task.task}.json", {"key": key, "score": shards.to_row(score)})
        scores.append(score)
    return scores


def _key(task: GateTask, gate: Gate, model_name: str) -> str:
    """All that a score depends on. Thresholds are not in it: moving a floor measures nothing again."""
    settings = task.model_dump(mode="json", exclude={"min", "max_drop"})
    return fingerprint(PROTOCOL, settings, hash_path(task.path), gate.sampling.model_dump(), gate.seed, model_name)


def _stored(path: Path, key: str) -> Score | None:
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return shards.from_row(Score, stored["score"]) if stored["key"] == key else None


def _run(model: EngineLM, task: GateTask, gate: Gate, verifier: Verifier, folder: Path) -> Score:
    problems = benchmarks.problems(task)
    with _quiet():
        results = lm_eval.simple_evaluate(
            model=model,
            tasks=[GateRun(config=_config(task, gate, verifier, problems))],
            task_manager=TaskManager(include_path=_tasks_folder(), include_defaults=False),
            apply_chat_template=True,
            log_samples=True,
            bootstrap_iters=0,
            limit=task.limit,
        )
    samples = results.pop("samples")[task.task]
    _save(folder, results, samples)
    return _score(task, samples, smoke=task.limit is not None and task.limit < len(problems))


def _config(task: GateTask, gate: Gate, verifier: Verifier, problems: list[Problem]) -> dict[str, Any]:
    """The task's YAML with the gate's sampling, these problems, and this verifier."""
    procedural = task.task.startswith(RG_PREFIX)
    config = _read_yaml(f"{RG_PREFIX.rstrip('_')}.yaml" if procedural else f"{task.task}.yaml")
    rows = datasets.Dataset.from_list([benchmarks.document(problem) for problem in problems])
    judged = {"function": "custom", "filter_fn": scoring.judge_with(verifier)}
    drawn = {
        "temperature": gate.sampling.temperature,
        "top_p": gate.sampling.top_p,
        "max_gen_toks": gate.sampling.max_tokens,
    }
    return {
        **config,
        "task": task.task,
        "repeats": task.repeats,
        "custom_dataset": lambda **_: {"test": rows},
        "dataset_kwargs": {},
        "generation_kwargs": {**config["generation_kwargs"], **drawn},
        "filter_list": [{"name": "judged", "filter": [judged]}],
        "process_results": scoring.count_marks,
    }


def _read_yaml(name: str) -> dict[str, Any]:
    """A YAML task with what it includes. Its functions stay names: a gate run puts its own in their place."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    text = (Path(_tasks_folder()) / name).read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.load(text, Loader)
    included = config.pop("include", None)
    return {**_read_yaml(included), **config} if included else config


def _tasks_folder() -> str:
    return str(importlib.resources.files("evals") / "tasks")


def _save(folder: Path, results: Mapping[str, Any], samples: list[dict[str, Any]]) -> None:
    write_json(folder / "results.json", json.loads(json.dumps(results, default=str)))
    lines = (json.dumps(sample, ensure_ascii=False, default=str) + "\n" for sample in samples)
    write_text(folder / "samples.jsonl", "".join(lines))


def _score(task: GateTask, samples: list[dict[str, Any]], *, smoke: bool) -> Score:
    by_problem = {str(sample["doc"]["id"]): float(sample["avg_at_k"]) for sample in samples}
    value, stderr = mean_and_stderr(list(by_problem.values()))
    return Score(
        task=task.task,
        domain=task.domain,
        metric=f"avg@{task.repeats}",
        value=value,
        stderr=stderr,
        n_problems=len(by_problem),
        k_samples=task.repeats,
        unfinished=fmean(sample["unfinished"] for sample in samples),
        by_problem=by_problem,
        smoke=smoke,
        unverified=fmean(sample["unverified"] for sample in samples),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval tells every step and warns of its own defaults; here only its errors are let through."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
