"""The peer's side of bench_harness.py: lm-eval's own hf backend. Run by an interpreter that has lm-eval.

Usage: python peer_harness.py COUNT SEED BATCH, prints one JSON object.
"""

import sys
import time
from typing import Any

import datasets
import torch
import transformers
from harness_work import ROOM, SAMPLING, lengths, model, number, rows, told
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM

DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."


class Ends(transformers.StoppingCriteria):  # type: ignore[misc]
    """Ends each row of a batch at its own length, as an end token would."""

    def __init__(self, ends: list[int], eos: int) -> None:
        self.ends_N, self.eos_token_id = torch.tensor(ends), eos  # that name has `generate` fill ended rows up

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **more: Any) -> torch.Tensor:
        return self.ends_N <= input_ids.shape[1]


def task(problems: list[dict[str, str]]) -> Any:
    """The problems as a task of lm-eval, one sample each."""
    docs = datasets.Dataset.from_list([{"ask": f"{row['question']}\n{DIRECTIVE}"} for row in problems])
    return ConfigurableTask(
        config={
            "task": "work",
            "custom_dataset": lambda **_: {"test": docs},
            "test_split": "test",
            "output_type": "generate_until",
            "doc_to_text": "{{ask}}",
            "doc_to_target": "x",
            "num_fewshot": 0,
            "generation_kwargs": {"until": [], "do_sample": True, "max_gen_toks": ROOM, **SAMPLING},
            "process_results": lambda doc, results: {"letters": len(results[0])},
            "metric_list": [{"metric": "letters", "aggregation": "mean", "higher_is_better": True}],
        }
    )


def main(count: int, seed: int, batch: int) -> None:
    student, tokenizer = model()
    wanted, made = lengths(count, seed), {"tokens": 0, "passes": 0}
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id

    def generate(**arguments: Any) -> Any:
        prompt_ids = arguments["input_ids"]
        width = prompt_ids.shape[1]
        ends = [width + wanted[number(text)] for text in tokenizer.batch_decode(prompt_ids)]
        arguments["stopping_criteria"].append(Ends(ends, eos))
        out = type(student).generate(student, **arguments)
        made["tokens"] += int((out[:, width:] != pad).sum())
        made["passes"] += out.shape[1] - width
        return out

    student.generate = generate
    backend = HFLM(pretrained=student, tokenizer=tokenizer, batch_size=batch, max_length=1024)

    def run(problems: list[dict[str, str]]) -> None:
        evaluate(
            backend, {"tasks": {"work": task(problems)}, "groups": {}}, apply_chat_template=True, bootstrap_iters=0
        )

    run(rows(2))
    made.update(tokens=0, passes=0)
    began, busy = time.perf_counter(), time.process_time()
    run(rows(count))
    told(time.perf_counter() - began, time.process_time() - busy, count, made["tokens"], made["passes"])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
