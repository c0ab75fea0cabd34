"""lm-eval's two files for one task: its results and each problem's samples in, named as its EvaluationTracker names
them, for its own readers, `datasets` and pandas.

Beside lm-eval's keys, the results hold `distill`: who answered, by which engine and seeds, over what data. Beside
lm-eval's columns, each problem's line holds, for its k samples in order, `seeds`, `marks`, `finishes` and `tokens`; its
`resps` are the completions whole, each as JSON.
"""

import functools
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lm_eval.loggers.evaluation_tracker import GeneralConfigTracker
from lm_eval.loggers.utils import add_env_info
from lm_eval.utils import handle_non_serializable, hash_string, sanitize_list

from distill import __version__
from distill.gate_sections import Gate, GateTask
from distill.run import write_json, write_lines
from evals import scoring
from evals.lm import BOOTSTRAP
from evals.metrics import Mark
from evals.store import Answered
from evals.subject import Subject

FUNCTIONS = {
    "custom_dataset": "evals.benchmarks.load_documents",
    "process_results": "evals.scoring.count_marks",
    "filter_list": [{"name": "judged", "filter": [{"function": "custom", "filter_fn": "evals.scoring.judge_with"}]}],
}
"""A task's functions by name; lm-eval would write their source, or where they are in memory."""

LINE_ENDS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "\x85\u2028\u2029"}
"""What some readers take for the end of a line, JSON does not escape, and a model may write."""

Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Evidence:
    """What is told of an evaluation beside lm-eval's own results: who was asked what; `protocol` and `data` (a hash of
    the problems that were asked); by the answers, which engines and served models they came from; and when the process
    that ended it `began`, in seconds since the epoch."""

    subject: Subject
    task: GateTask
    protocol: int
    data: str
    answers: Sequence[Answered]
    began: float

    def row(self) -> dict[str, Any]:
        """As it is written."""
        completions = [answered.completion for answered in self.answers]
        return {
            "version": __version__,
            "protocol": self.protocol,
            "data": self.data,
            "model_content": self.subject.content,
            "engines": sorted({answered.engine for answered in self.answers}),
            "served": sorted({completion.model for completion in completions}),
            "providers": sorted({completion.provider for completion in completions} - {""}),
        }


def write(folder: Path, evidence: Evidence, gate: Gate, results: Mapping[str, Any]) -> None:
    """Writes `results_<time>.json` and `samples_<task>_<time>.jsonl` of one time; raises OSError for a full disk."""
    task = evidence.task
    stamp = datetime.now().isoformat(timespec="microseconds").replace(":", "-")
    samples: Samples = results["samples"][task.task]
    whole = {key: value for key, value in results.items() if key != "samples"}
    whole["configs"] = {name: config | FUNCTIONS for name, config in results["configs"].items()}
    whole |= _told(evidence, gate, samples)
    lines = (_line(sample, gate.seed) for sample in samples)
    write_lines(folder / f"samples_{task.task}_{stamp}.jsonl", lines)
    write_json(folder / f"results_{stamp}.json", json.loads(json.dumps(whole, default=handle_non_serializable)))


def _told(evidence: Evidence, gate: Gate, samples: Samples) -> dict[str, Any]:
    """What `simple_evaluate` and EvaluationTracker write, as far as it is true here: no global generator is seeded."""
    subject, task = evidence.subject, evidence.task
    tracker = GeneralConfigTracker()
    tracker.log_experiment_args("distill", {"model": subject.name}, None, None, False)
    unseeded = dict.fromkeys(("random_seed", "numpy_seed", "torch_seed", "fewshot_seed"))
    hashes = "".join(sample["doc_hash"] + sample["prompt_hash"] + sample["target_hash"] for sample in samples)
    seeds = [gate.seed + repeat for repeat in range(task.repeats)]
    return {
        "config": {
            "model": subject.name,
            "model_args": {"model": subject.name, "content": subject.content},
            "model_sha": subject.content,
            "batch_size": gate.batch_size,
            "batch_sizes": [],
            "device": None,
            "use_cache": None,
            "limit": task.limit,
            "bootstrap_iters": BOOTSTRAP,
            "gen_kwargs": gate.sampling.model_dump(),
            **unseeded,
        },
        "git_hash": None,
        "date": evidence.began,
        **_machine(),
        "task_hashes": {task.task: hash_string(hashes)},
        **asdict(tracker),
        "total_evaluation_time_seconds": str(time.time() - evidence.began),
        "distill": {**evidence.row(), "seeds": seeds},
    }


@functools.cache
def _machine() -> dict[str, Any]:
    """Libraries and machine, as lm-eval tells them; it takes half a second, and does not change."""
    found: dict[str, Any] = {}
    add_env_info(found)
    return found


def _line(sample: Mapping[str, Any], seed: int) -> str:
    """A problem's line, with texts where EvaluationTracker has texts, so that `datasets` finds one type per column."""
    texts = sample["resps"][0]
    completions = [scoring.unpack(text) for text in texts]
    row = {
        **sample,
        "target": str(sample["target"]),
        "arguments": {
            f"gen_args_{at}": {f"arg_{place}": value for place, value in enumerate(arguments)}
            for at, arguments in enumerate(sample["arguments"])
        },
        "resps": sanitize_list(sample["resps"]),
        "filtered_resps": sanitize_list(sample["filtered_resps"]),
        "seeds": [seed + repeat for repeat in range(len(texts))],
        "marks": [Mark.load(text).mark for text in sample["filtered_resps"][0]],
        "finishes": [completion.finish for completion in completions],
        "tokens": [completion.completion_tokens for completion in completions],
    }
    return json.dumps(row, default=handle_non_serializable, ensure_ascii=False).translate(LINE_ENDS) + "\n"
