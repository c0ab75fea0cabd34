"""How lm-eval is run: a task of the gate, its problems and a way to ask in; lm-eval's own results and samples out.

lm-eval's `evaluate` is called, not `simple_evaluate`, which also seeds every global random number generator, asks git
and collects facts about the machine for each round; what it adds to the results is in `evals.results`.
"""

import contextlib
import importlib.resources
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate

from distill.errors import DistillError
from distill.gate_sections import Gate, GateTask
from distill.records import Completion, Problem, Request, Sampling, Verifier
from distill.tasknames import RG_PREFIX
from evals import benchmarks, scoring

BOOTSTRAP = 1
"""lm-eval's standard errors of means are worked out, over problems; it draws nothing for them, and has them only where
this is not 0."""

Ask = Callable[[Sequence[Request]], Mapping[str, Completion]]


class EngineLM(LM):  # type: ignore[misc]  # lm-eval is untyped
    """Whatever answers requests as a model of lm-eval. Each text it returns is a packed completion (`scoring.pack`)."""

    def __init__(self, ask: Ask, name: str, seed: int) -> None:
        super().__init__()
        self._ask, self._name, self._seed = ask, name, seed

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One completion per instance; the i-th repeat of a document has seed + i. Raises what asking raises."""
        repeats: Counter[str] = Counter()
        asked: list[Request] = []
        for instance in requests:
            prompt, options = instance.args
            name = str(instance.doc["id"])
            seed = self._seed + repeats[name]
            repeats[name] += 1
            sampling = Sampling(options["temperature"], options["top_p"], options["max_gen_toks"])
            asked.append(Request(f"{name}#{seed}", prompt, seed, sampling))
        found = self._ask(asked)
        return [scoring.pack(found[request.id]) for request in asked]

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


class GateRun(ConfigurableTask):  # type: ignore[misc]  # lm-eval is untyped
    """One YAML task on problems that are already read, without lm-eval's progress bar."""

    def build_all_requests(self, **settings: Any) -> None:
        """As lm-eval builds them, in silence."""
        with contextlib.redirect_stderr(io.StringIO()):
            super().build_all_requests(**settings)


def run(model: LM, config: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """One task on the problems at these places: lm-eval's results, with each problem's samples. Raises what the model
    raises."""
    with _quiet():
        name = config["task"]
        results: dict[str, Any] = evaluate(
            lm=model,
            task_dict={"tasks": {name: GateRun(config=dict(config))}, "groups": {}},
            samples={name: sorted(places)},  # lm-eval numbers the samples right only in the rows' own order
            bootstrap_iters=BOOTSTRAP,
            log_samples=True,
            apply_chat_template=True,
        )
    return results


def config(task: GateTask, gate: Gate, verifier: Verifier, problems: Sequence[Problem]) -> dict[str, Any]:
    """The task's YAML with the gate's sampling, these problems, and this verifier."""
    procedural = task.task.startswith(RG_PREFIX)
    read = _read_yaml(f"{RG_PREFIX.rstrip('_')}.yaml" if procedural else f"{task.task}.yaml")
    rows = datasets.Dataset.from_list([benchmarks.document(problem) for problem in problems])
    judged = {"function": "custom", "filter_fn": scoring.judge_with(verifier)}
    drawn = {
        "do_sample": gate.sampling.temperature > 0,
        "temperature": gate.sampling.temperature,
        "top_p": gate.sampling.top_p,
        "max_gen_toks": gate.sampling.max_tokens,
    }
    return {
        **read,
        "task": task.task,
        "repeats": task.repeats,
        "custom_dataset": lambda **_: {"test": rows},
        "dataset_kwargs": {},
        "generation_kwargs": {**read["generation_kwargs"], **drawn},
        "filter_list": [{"name": "judged", "filter": [judged]}],
        "process_results": scoring.count_marks,
    }


def _read_yaml(name: str) -> dict[str, Any]:
    """A YAML task with what it includes. Its functions stay names: a gate run puts its own in their place."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: str(node.value))
    text = (Path(_tasks_folder()) / name).read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.load(text, Loader)
    included = read.pop("include", None)
    return {**_read_yaml(included), **read} if included else read


def _tasks_folder() -> str:
    return str(importlib.resources.files("evals") / "tasks")


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
