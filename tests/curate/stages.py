"""What the tests of curation share: small traces, and the whole stage run on them in a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import shards
from distill.curate.compare import judge
from distill.curate.stage import Job, curate
from distill.curate_sections import Curate
from distill.records import Completion, Dropped, Finish, Judgement, Kept, Problem, Sampling, Trace, Verdict
from distill.student_sections import Student

STUDENT = Student(base="bundled:base")


def trace(reasoning: str = "Two and two.", answer: str = "\\boxed{4}", prompt: str = "2 + 2 = ?", **more: Any) -> Trace:
    finish: Finish = more.get("finish", "stop")
    completion = Completion(reasoning, answer, finish, 5, more.get("tokens"), "r1", more.get("clean", True))
    problem = Problem.of(prompt, more.get("gold", "4"), more.get("kind", "math"), more.get("source", "test"))
    seed = more.get("seed", 0)
    return Trace(f"{problem.id}#{seed}", problem, completion, "r1", seed, Sampling(), None, "", 0.0)


def here(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
    """A verifier without processes."""
    return [judge(problem, answer) for problem, answer in answers]


@dataclass(frozen=True)
class Curated:
    """What the stage left behind."""

    facts: dict[str, Any]
    kept: list[Kept]
    dropped: list[Dropped]
    said: list[str]
    folder: Path

    def verdicts(self, traces: Sequence[Trace]) -> list[Verdict]:
        """Each trace's verdict, in order; a trace that stands twice has its verdicts in the order of reading."""
        told = {one.id: [Verdict(True)] for one in self.kept}
        for one in self.dropped:
            told.setdefault(one.trace.id, []).append(Verdict(False, one.reason, one.detail))
        return [told[one.id].pop(0) for one in traces]


def run(
    folder: Path,
    traces: Sequence[Trace],
    *,
    prompts: Mapping[str, Sequence[str]] | None = None,
    verifier: Callable[[Sequence[tuple[Problem, str]]], list[Judgement]] = here,
    **section: Any,
) -> Curated:
    """The stage on these traces, with a section of these settings."""
    shards.write_parts(folder / "traces", traces, Trace)
    said: list[str] = []
    job = Job(
        section=Curate(**{"workers": 1, **section}),
        student=STUDENT,
        prompts=prompts or {},
        traces=folder / "traces",
        folder=folder / "kept",
        votes=folder / "votes.jsonl",
        verifier=verifier,
        say=said.append,
    )
    facts = json.loads(json.dumps(curate(job)))
    kept = list(shards.read_parts(job.folder, Kept))
    return Curated(facts, kept, list(shards.read_parts(job.folder / "dropped", Dropped)), said, job.folder)
