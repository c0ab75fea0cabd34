"""The judge: answers that rules cannot decide in, rulings out, by the votes of a model that any engine may run.

This is the model-based half of the reward that R1's makers describe (arXiv 2501.12948, sections 2.2.2 and 2.3.3). What
a judge is sent and how its replies are read stands in `distill.curate.ballot`. A vote that fails is never the answer's
failure: it is told as the judge's.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from distill import engines
from distill.curate.ballot import CANNOT_TELL, Asked, Ballot, Side, digest, read_prompt, read_reply, render
from distill.curate_sections import Judge
from distill.errors import DistillError, EngineError, InputError
from distill.journal import Journal, scan
from distill.recipe import located, model_path
from distill.records import Completion, Engine, Failure, Judgement, Request, Ruling, Verdict, Watch, estimated_tokens
from distill.run import hash_path
from distill.teacher_sections import LocalTeacher

__all__ = ["Asked", "Panel", "Vote", "connect", "verdict", "wanted"]

KEPT_REPLY = 2_000  # characters of a reply that the cache keeps, from the end, for people
HOPELESS = 20  # votes that failed, with no valid one, before a judge is given up
FEWEST_ANSWERS = 3  # that these were about: one answer that no judge can read is not the judge's end
MOST_READY = 10_000  # rulings that may wait, while the cache gives them faster than the engine


@dataclass(frozen=True)
class Vote:
    """A valid vote as the cache holds it. `id` is the hash of all that the vote depends on, `model` the name that it
    was served under, and `reply` the end of what was replied, for people."""

    id: str
    said: Side
    reply: str
    model: str
    prompt_tokens: int | None
    completion_tokens: int | None

    def __post_init__(self) -> None:
        if self.said not in get_args(Side):
            raise ValueError(f"a vote says {self.said!r}")


def wanted(combine: str, rule: Judgement) -> bool:
    """Whether a judge is asked about an answer, after what the rule said of it; `combine` as in the recipe."""
    return {"undecided": rule.right is None, "rescue": not rule.right, "agree": rule.right is True}[combine]


def verdict(combine: str, rule: Judgement, ruling: Ruling | None) -> Verdict | None:
    """What rule and judge together say: None for a good answer, else why its trace is dropped.

    Where a judge is wanted its word counts, elsewhere the rule's. `ruling` is None where no judge was asked. Where the
    judge cannot tell, an answer that is wrong by the rule stays wrong; where it failed, that is the reason: it might
    have saved the answer.
    """
    if not wanted(combine, rule):
        if rule.right is None:
            return Verdict(False, "unverifiable", rule.detail)
        return None if rule.right else Verdict(False, "wrong_answer", rule.detail)
    if ruling is not None and ruling.right is not None:
        return None if ruling.right else Verdict(False, "wrong_answer", _told(ruling))
    if ruling is not None and not ruling.detail.startswith(CANNOT_TELL):
        return Verdict(False, "judge_failed", _told(ruling))
    if rule.right is False:
        return Verdict(False, "wrong_answer", rule.detail)
    undecided = (rule.detail, "no judge was asked" if ruling is None else _told(ruling))
    return Verdict(False, "unverifiable", "; ".join(filter(None, undecided)))


def _told(ruling: Ruling) -> str:
    return f"{ruling.by}: {ruling.detail}"


class Panel:
    """A judge at work: answers to rulings, each once and as its votes come in. Valid votes outlive the process in
    `cache`, and are asked for only once; what failed is asked for again the next time.

    `say` is told what people should know. Raises InputError for a prompt that is none and ShardError for a cache that
    cannot be read.
    """

    def __init__(
        self, engine: Engine, section: Judge, cache: Path, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.engine, self.section, self.cache, self.say = engine, section, cache, say
        self.template = read_prompt(section.prompt)
        self.known: dict[str, Side] = {vote.id: vote.said for _, vote in scan(cache, Vote)}
        self.counts: Counter[str] = Counter()
        self.failing: set[str] = set()  # ids of the first answers of which a vote failed
        self.first_failure = ""
        self._base = _identity(section)

    @property
    def facts(self) -> dict[str, Any]:
        """What the manifest says, of this process: answers by how they got their ruling (`asked`, `cached`, or
        `over_max_answers` and without one) and by what it was; votes that were valid and that failed; and tokens,
        stated or estimated."""
        names = (
            *("asked", "cached", "over_max_answers", "right", "wrong", "cannot_tell", "failed"),
            *("valid_votes", "failed_votes", "prompt_tokens", "completion_tokens"),
        )
        counted = {name: self.counts[name] for name in names}
        return {"model": self.section.engine.model, "votes": self.section.votes, **counted} | (
            {"first_failure": self.first_failure} if self.first_failure else {}
        )

    def __call__(self, answers: Iterable[Asked]) -> Iterator[tuple[str, Ruling]]:
        """The ruling on each answer by its trace's id, in the order in which they are there. `answers` is read only as
        far as the engine has room; beyond `max_answers` there is no ruling.

        Raises EngineError where the engine cannot go on, and DistillError where none of the first votes is valid.
        """
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        with closing(Journal(self.cache, Vote)) as journal:
            if journal.torn:
                self.say(f"the last line of {self.cache} was torn; {journal.torn} bytes were cut off")
            yield from _Sitting(self, journal, iter(answers)).rulings()

    def requests(self, asked: Asked) -> list[Request]:
        """Every vote on an answer as a request; its id is the hash of all that the vote depends on."""
        prompt, sampling = render(self.template, asked), self.section.sampling.record()
        base = f"{self._base}\n{digest(prompt)}"
        first = self.section.engine.seed
        seeds = range(first, first + self.section.votes)
        return [Request(digest(f"{base}\n{seed}")[:32], prompt, seed, sampling) for seed in seeds]


class _Sitting:
    """One call of a panel. `ready` are rulings that are not handed on yet, `waiting` the ballots that wait for a vote,
    by the id of its request: equal answers to equal problems share their votes."""

    def __init__(self, panel: Panel, journal: Journal[Vote], answers: Iterator[Asked]) -> None:
        self.panel, self.journal, self.answers = panel, journal, answers
        self.ready: list[Ballot] = []
        self.waiting: dict[str, list[Ballot]] = {}

    def rulings(self) -> Iterator[tuple[str, Ruling]]:
        """Every ruling; the engine is at work only while there is something to ask."""
        asks = self._asks()
        for ask in asks:
            if ask is not None:
                yield from self._work(self._fed(ask, asks))
            yield from self._drain()
        if over := sum(1 for _ in self.answers):
            self.panel.counts["over_max_answers"] += over
            most = self.panel.section.max_answers
            self.panel.say(f"the judge has ruled on max_answers: {most}, and {over:,} more stay undecided")

    def _asks(self) -> Iterator[Request | None]:
        """Every vote that is to be asked for, and None where an answer needed none."""
        counts, most = self.panel.counts, self.panel.section.max_answers
        while most is None or counts["asked"] + counts["cached"] < most:
            asked = next(self.answers, None)
            if asked is None:
                return
            requests = self.panel.requests(asked)
            ballot = Ballot(asked, len(requests), len(requests))
            cached = all(request.id in self.panel.known for request in requests)
            counts["cached" if cached else "asked"] += 1
            for request in requests:
                if (said := self.panel.known.get(request.id)) is not None:
                    self._count(ballot, said)
                elif request.id in self.waiting:
                    self.waiting[request.id].append(ballot)
                else:
                    self.waiting[request.id] = [ballot]
                    yield request
            if cached:
                yield None

    def _fed(self, first: Request, asks: Iterator[Request | None]) -> Iterator[Request | None]:
        """What the engine is given. It ends where nothing is in flight and there is a ruling to hand on."""
        yield first
        for ask in asks:
            if ask is not None:
                yield ask
            elif not self.waiting:
                return
            while len(self.ready) >= MOST_READY and self.waiting:
                yield None

    def _work(self, requests: Iterator[Request | None]) -> Iterator[tuple[str, Ruling]]:
        outcomes = self.panel.engine.complete(requests)
        try:
            for request, outcome in outcomes:
                self._take(request, outcome)
                yield from self._drain()
        finally:
            if isinstance(outcomes, Generator):
                outcomes.close()
        if self.waiting:
            raise EngineError(f"the judge's engine left {len(self.waiting)} requests without an outcome")

    def _take(self, request: Request, outcome: Completion | Failure) -> None:
        ballots, counts = self.waiting.pop(request.id), self.panel.counts
        if isinstance(outcome, Failure):
            side, why = None, f"{outcome.error}: {outcome.message}"
        else:
            prompt_tokens = outcome.prompt_tokens
            counts["prompt_tokens"] += estimated_tokens(request.prompt) if prompt_tokens is None else prompt_tokens
            counts["completion_tokens"] += outcome.probable_tokens
            side, why = read_reply(outcome)
            if side is not None:
                self._keep(request, outcome, side)
        counts["failed_votes" if side is None else "valid_votes"] += 1
        for ballot in ballots:
            self._count(ballot, side, why)
        if side is None:
            self._failed(ballots[0].asked.id, why)

    def _keep(self, request: Request, outcome: Completion, side: Side) -> None:
        reply, model = (
            text.encode("utf-8", "replace").decode() for text in (outcome.answer[-KEPT_REPLY:], outcome.model)
        )
        vote = Vote(request.id, side, reply, model, outcome.prompt_tokens, outcome.completion_tokens)
        self.journal.append(vote)
        self.panel.known[vote.id] = side

    def _failed(self, name: str, why: str) -> None:
        """Tells the first failed vote, and gives a judge up of which nothing but failures came."""
        panel = self.panel
        if not panel.first_failure:
            panel.first_failure = why
            panel.say(f"a vote of the judge failed: {why}")
        if panel.counts["valid_votes"]:
            return
        panel.failing.add(name)
        failed = panel.counts["failed_votes"]
        if failed >= HOPELESS and len(panel.failing) >= FEWEST_ANSWERS:
            raise DistillError(
                f"the judge {panel.section.engine.model} gave {failed} votes, and none is valid; the first one: "
                f"{panel.first_failure}; look at curate.judge: its engine, its prompt and its sampling.max_tokens"
            )

    def _count(self, ballot: Ballot, side: Side | None, why: str = "") -> None:
        ballot.count(side, why)
        if not ballot.open:
            self.ready.append(ballot)

    def _drain(self) -> Iterator[tuple[str, Ruling]]:
        ready, self.ready = self.ready, []
        for ballot in ready:
            ruling = ballot.ruling(self.panel.section.engine.model)
            told = {True: "right", False: "wrong", None: "failed"}[ruling.right]
            self.panel.counts["cannot_tell" if ruling.detail.startswith(CANNOT_TELL) else told] += 1
            yield ballot.asked.id, ruling


class _Later:
    """A local model that is loaded once it is asked: where the cache has every vote, it never is."""

    def __init__(self, section: LocalTeacher) -> None:
        self._section = section
        self._engine: Engine | None = None

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """As the loaded engine does."""
        if self._engine is None:
            self._engine = engines.connect(self._section, reasons=False)
        return self._engine.complete(requests)


def connect(section: Judge, cache: Path, say: Callable[[str], None] = lambda text: None) -> Panel:
    """The panel of a section; raises InputError for a key that is not in the environment, a folder that holds no model
    or a prompt that is none."""
    if section.engine.kind == "local":
        located("curate.judge.engine.model", section.engine.model)
        return Panel(_Later(section.engine), section, cache, say)
    try:
        engine = engines.connect(section.engine, Watch(say), reasons=False)
    except InputError as error:
        raise InputError(f"curate.judge.engine.{str(error).removeprefix('teacher.')}") from error
    return Panel(engine, section, cache, say)


def _identity(section: Judge) -> str:
    """What votes depend on beside the prompt and the seed. Where a server is, and how it is asked, is not in it: votes
    outlive a move to another host."""
    engine, which = section.engine, {"kind": section.engine.kind, "model": section.engine.model}
    if engine.kind == "endpoint":
        own: dict[str, Any] = {"extra_body": engine.extra_body}
    else:
        files = hash_path(model_path(engine.model))
        own = {"revision": engine.revision, "quantization": engine.quantization, "files": files}
    return json.dumps([which, own, section.sampling.model_dump(mode="json")], sort_keys=True)
