"""Our side of bench_harness.py: the gate's harness over the local engine, with its store, its files and its scores.

Usage: python our_harness.py COUNT SEED BATCH, prints one JSON object.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness_work import ROOM, SAMPLING, lengths, model, number, rows, told

from distill.engines.batch import Row
from distill.engines.local import LocalEngine
from distill.gate_sections import Gate
from distill.records import Judgement, Problem
from evals import Subject, evaluate

LOGIC = {"task": "distill_rg_aiw", "min": 0, "size": 1, "repeats": 1}


class Forced(LocalEngine):
    """Ends each row at the length that its problem has; counts its passes."""

    def __init__(self, *arguments: Any, wanted: Sequence[int], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.wanted, self.passes = wanted, 0

    def _take(self, row: Row, token: int) -> bool:
        row.drawn.append(token)
        prompt = row.request.prompt
        if len(row.drawn) >= (self.wanted[number(prompt)] if prompt.startswith("Work") else 1):
            row.finish = "stop"
        return row.finish is not None

    def _step(self, *arguments: Any) -> list[int]:
        self.passes += 1
        return super()._step(*arguments)


def wrong(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    """A verifier that takes no time, as the peer's scoring does."""
    return [Judgement(False)] * len(answers)


def main(count: int, seed: int, batch: int) -> None:
    student, tokenizer = model()
    engine = Forced(student, tokenizer, name="student", batch_size=batch, wanted=lengths(count, seed))

    def run(root: Path, problems: list[dict[str, str]]) -> Any:
        root.mkdir()
        path = root / "work.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in problems))
        work = {"task": "distill_gsm8k", "path": str(path), "min": 0, "repeats": 1}
        gate = Gate.model_validate({"tasks": [work, LOGIC], "sampling": {**SAMPLING, "max_tokens": ROOM}})
        subject = Subject("student", "bundled", lambda: engine)
        return evaluate(subject, gate, wrong, root / "run", root / "store", say=lambda line: None)[0]

    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "first", rows(2))
        engine.passes = 0
        began, busy = time.perf_counter(), time.process_time()
        score = run(Path(folder) / "work", rows(count))
        told(time.perf_counter() - began, time.process_time() - busy, count, score.tokens, engine.passes)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
