"""The stage `sample`, from problems on disk to traces on disk: takes a `Job`, gives the facts for its manifest.

Three ways: the whole, which ends with sealed parts; a shard of the problems for one of several processes; and a pilot,
which asks for a few problems and says what all of them will cost. Whatever arrived is on disk and counts in each.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from heapq import nsmallest
from itertools import chain
from pathlib import Path
from typing import Any

from distill import shards
from distill.engines.capture import Capture
from distill.errors import DistillError, InputError, Interrupted
from distill.records import Expense, Problem, Verifier
from distill.run import locked
from distill.teacher_sections import EndpointTeacher, LocalTeacher, ReplayTeacher, ScriptedTeacher
from teachers import connect
from teachers.budget import Purse
from teachers.collect import PARTS, Collection, expenses
from teachers.estimate import estimate
from teachers.interrupt import graceful
from teachers.progress import Progress

Asked = EndpointTeacher | LocalTeacher | ScriptedTeacher


@dataclass(frozen=True)
class Shard:
    """Part `number` of `of`, counted from 1: a problem belongs to one of them by its id, whatever the others are."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`3/8`; raises InputError for what is not a part of a whole."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
            raise InputError(f"--shard {text!r} is no part of a whole; write 1/8, 2/8 and so on up to 8/8")
        return cls(int(number), int(of))

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.number}-of-{self.of}"

    def holds(self, problem: Problem) -> bool:
        """Whether a problem is in this shard."""
        return int(problem.id, 16) % self.of == self.number - 1


@dataclass(frozen=True)
class Job:
    """What is to be sampled. `problems` and `folder` are the stage folders of the problems and of the traces."""

    section: Asked | ReplayTeacher
    problems: Path
    folder: Path
    verifier: Verifier
    say: Callable[[str], None]


@dataclass(frozen=True)
class _Chosen:
    """Problems as a stream from disk that can be read again and again."""

    folder: Path
    wanted: Callable[[Problem], bool]

    def __iter__(self) -> Iterator[Problem]:
        return filter(self.wanted, shards.read_parts(self.folder, Problem))


def sample(job: Job) -> dict[str, Any]:
    """The whole stage: takes over what shards have gathered, asks for what is missing, and seals.

    Raises DistillError when the budget is spent or the engine cannot go on, and Interrupted after Ctrl-C; everything
    that arrived is kept, and the same call goes on from there.
    """
    problems = _Chosen(job.problems, lambda problem: True)
    wanted = {problem.id for problem in problems}
    with closing(Collection(job.folder, wanted, job.say, _capture(job.section))) as collection:
        collection.take_over()
        spent = _gather(job, problems, collection)
        facts = collection.seal()
    job.say(f"  {facts['traces']:,} traces, {facts['failed']:,} failed")
    return facts | spent


def sample_shard(job: Job, shard: Shard) -> dict[str, Any]:
    """One shard, in a folder of its own, which `sample` takes over; raises as `sample` does, and DistillError where
    another process is at work on the same shard."""
    problems = _Chosen(job.problems, shard.holds)
    wanted = {problem.id for problem in problems}
    folder = job.folder / PARTS / shard.name
    with (
        locked(folder / ".lock", f"the shard {shard.name} is being sampled by another process"),
        closing(Collection(folder, wanted, job.say, _capture(job.section))) as collection,
    ):
        collection.look_at(job.folder)
        spent = _gather(job, problems, collection, shard)
        traces, failed = len(collection), len(collection.failed())
    job.say(f"  shard {shard.name}: {traces:,} traces of {len(wanted):,} problems, {failed:,} failed")
    return {"shard": shard.name, "problems": len(wanted), "traces": traces, "failed": failed, **spent}


def sample_pilot(job: Job, count: int) -> dict[str, Any]:
    """Asks for `count` problems only, and says what the whole recipe will cost; the answers are kept and count.

    The problems are those with the lowest ids, which are hashes of their content: a random sample, always the same.
    """
    everyone = _Chosen(job.problems, lambda problem: True)
    problems = sum(1 for _ in everyone)
    wanted = set(nsmallest(count, (problem.id for problem in everyone)))
    with closing(Collection(job.folder, wanted, job.say, _capture(job.section))) as collection:
        collection.take_over()
        _gather(job, _Chosen(job.problems, lambda problem: problem.id in wanted), collection)
        finished = (trace for trace in collection.traces() if not trace.completion.unfinished)
        answers = [(trace.problem, trace.completion.answer) for trace in finished]
        right = sum(judgement.right is True for judgement in job.verifier(answers))
        budget = job.section.budget if isinstance(job.section, EndpointTeacher) else None
        found = estimate(collection.traces(), right, len(wanted), problems, budget)
    for line in found.lines():
        job.say(line)
    job.say("these answers are kept and count; the same command without --estimate goes on from them")
    return found.facts()


def _gather(
    job: Job, problems: Iterable[Problem], collection: Collection, shard: Shard | None = None
) -> dict[str, Any]:
    """Asks for what the collection lacks; gives what is spent. A shard has its share of budget and limits."""
    if isinstance(job.section, ReplayTeacher):
        from teachers.replay import Replay

        for trace in Replay(job.section).traces():
            collection.add(trace)
        return {}
    section, earlier = job.section, expenses(collection.folder)
    if shard is not None:
        section, earlier = _share(section, shard.of), chain(earlier, [_share_of_spent(job.folder, shard.of)])
    budget = section.budget if isinstance(section, EndpointTeacher) else None
    purse = Purse(budget, collection.ledger, earlier)
    teacher = connect(
        section, job.verifier, purse=purse, capture=collection.capture, say=lambda text: job.say(f"  {text}")
    )
    if len(collection):
        job.say(f"  {len(collection):,} traces are there already")
    progress = Progress(teacher, len(collection.wanted), job.say)
    grace_s = 0.0
    if isinstance(section, EndpointTeacher):
        job.say(f"  asking {section.model} at {section.base_url}, at most {section.concurrency} at once")
        grace_s = section.grace_s

    def stop() -> None:
        teacher.stop("interrupted")
        waits = f"waiting up to {grace_s:g} s for {teacher.in_flight} in flight (once more to leave them)"
        threading.Thread(target=job.say, args=(f"  Ctrl-C: nothing new is sent; {waits}",)).start()  # not in a handler

    outcomes = teacher.solve(problems, collection.traces())
    with closing(purse), closing(outcomes), progress, graceful(stop, grace_s):
        for outcome in outcomes:
            collection.add(outcome)
            progress.count(outcome)
    if teacher.stopped == "interrupted":
        raise Interrupted(f"interrupted; {len(collection):,} traces are kept, and the same command goes on from there")
    facts = {"spent_usd": purse.usd, "spent_tokens": purse.prompt_tokens + purse.completion_tokens}
    if budget is None or not teacher.stopped:
        return facts
    if budget.when_spent == "stop":
        raise DistillError(
            f"{teacher.stopped}; {len(collection):,} traces are kept, and the same command goes on from there"
        )
    job.say(f"  {teacher.stopped}; going on with {len(collection):,} traces")
    return facts | {"left_undone": teacher.left_undone, "caps": budget.caps}


def _capture(section: Asked | ReplayTeacher) -> Capture | None:
    """Takes the teacher's distributions, where the recipe wants them and the teacher has any."""
    if isinstance(section, EndpointTeacher | LocalTeacher) and section.capture_logprobs is not None:
        return Capture(section.capture_logprobs)
    return None


def _share(section: Asked, of: int) -> Asked:
    """The section with an n-th of what is the account's: the budget, and the limits per minute."""
    if not isinstance(section, EndpointTeacher):
        return section
    rpm, tpm = section.requests_per_minute, section.tokens_per_minute
    limits: dict[str, Any] = {
        "requests_per_minute": None if rpm is None else rpm / of,
        "tokens_per_minute": None if tpm is None else tpm / of,
    }
    if (budget := section.budget) is not None:
        caps = {
            "max_usd": None if budget.max_usd is None else budget.max_usd / of,
            "max_tokens": None if budget.max_tokens is None else budget.max_tokens // of,
        }
        limits["budget"] = budget.model_copy(update=caps)
    return section.model_copy(update=limits)


def _share_of_spent(folder: Path, of: int) -> Expense:
    """An n-th of what was spent before there were shards, rounded up."""
    before = list(expenses(folder))
    sums = sum(item.prompt_tokens for item in before), sum(item.completion_tokens for item in before)
    return Expense("before", -(-sums[0] // of), -(-sums[1] // of))
