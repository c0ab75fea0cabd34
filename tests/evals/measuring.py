"""What the tests of the harness share: small tasks on disk, a scripted engine, and a verifier without processes."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from distill.answers import boxed
from distill.gate_sections import Gate, GateTask
from distill.records import Completion, Failure, Finish, Judgement, Request
from evals import Subject, benchmarks, evaluate

Told = Completion | Failure
MATH, LOGIC = "distill_gsm8k", "distill_bbh_logic"


class Scripted:
    """Answers by a function of the request; remembers what it was asked. Yields in reverse, as a real one may."""

    def __init__(self, say: Callable[[Request], Told]) -> None:
        self.say = say
        self.asked: list[Request] = []
        self.loaded = 0

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Told]]:
        taken = [request for request in requests if request is not None]
        self.asked += taken
        for request in reversed(taken):
            yield request, self.say(request)

    def load(self) -> "Scripted":
        self.loaded += 1
        return self


def done(answer: str, reasoning: str = "hm", finish: Finish = "stop", tokens: int = 2) -> Completion:
    return Completion(reasoning, answer, finish, 1, tokens, "scripted")


def verifier(answers: Any) -> list[Judgement]:
    return [Judgement((boxed(text) or [""])[-1] == problem.answer) for problem, text in answers]


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def files(folder: Path, sums: int = 3) -> dict[str, dict[str, Any]]:
    """Each kind of task, small, by name: what a recipe says of it."""
    folder.mkdir()
    gsm8k = [{"question": f"What is {at} + {at}?", "answer": f"so\n#### {2 * at}"} for at in range(sums)]
    knights = {"quiz": "Who?", "names": ["Al"], "solution": [True], "solution_text_format": "(1) Al is a knight"}
    bbh = {"canary": "c", "examples": [{"input": "Which?\n(A) a", "target": "(A)"}]}
    (folder / "b.json").write_text(json.dumps(bbh))
    return {
        MATH: {"path": lines(folder / "g.jsonl", *gsm8k)},
        "distill_math500": {"path": lines(folder / "m.jsonl", {"problem": "{{1}}?", "answer": "[1, 2]"})},
        LOGIC: {"path": str(folder / "b.json")},
        "distill_knights_knaves": {"path": lines(folder / "k_test.jsonl", knights)},
        "distill_rg_chain_sum": {"size": 2, "seed": 5},
    }


def gate(tasks: dict[str, dict[str, Any]], names: Iterable[str] = (MATH, LOGIC), **changes: Any) -> Gate:
    """A gate of these tasks; `changes` are a task's, but for those of the gate itself."""
    own = {key: changes.pop(key) for key in ("until_decided", "seed", "sampling") if key in changes}
    chosen = [GateTask(task=name, min=0.5, **{"repeats": 2, **tasks[name], **changes}) for name in names]
    return Gate(tasks=tuple(chosen), **{"seed": 40, "sampling": {"max_tokens": 77}, **own})


def right(section: Gate) -> Callable[[Request], Completion]:
    """Says every answer as it should be."""
    known = {problem.ask: problem.answer for task in section.tasks for problem in benchmarks.problems(task)}
    return lambda request: done(f"\\boxed{{{known[request.prompt]}}}")


def measure(engine: Any, section: Gate, root: Path, content: str = "m", **more: Any) -> Any:
    """Scores of a model in `root`/run/<name>, with `root`/store."""
    name, said = more.pop("name", "bf16"), more.pop("said", [])
    subject = Subject(name, content, engine.load)
    judge = more.pop("judge", verifier)
    return evaluate(subject, section, judge, root / "run" / name, root / "store", say=said.append, **more)


def rows(root: Path, task: str = MATH, name: str = "bf16") -> list[dict[str, Any]]:
    """The lines of a task's one samples file."""
    [path] = (root / "run" / name / task).glob("samples_*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
