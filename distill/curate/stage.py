"""The stage `curate`, from traces on disk to the kept and the dropped on disk: takes a `Job`, gives the facts for its
manifest.

Everything streams. All cores look at the traces once (`look`), the verifier and the judge rule on their answers, what
must be compared with others is decided on small features alone (`dedupe`, `select`), and then the traces are read once
more and written to where they belong (`ledger`). A bad trace is dropped with its reason and stops nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from distill import shards
from distill.curate import judge, look, report, select
from distill.curate.candidates import Candidates
from distill.curate.crew import explore
from distill.curate.dedupe import exact, near
from distill.curate.ledger import Ledger
from distill.curate.look import Look, Setup
from distill.curate.student import Pupil, meet
from distill.curate_sections import Curate
from distill.records import Judgement, Ruling, Trace, Verdict, Verifier
from distill.student_sections import Student

RULE = "rule"
TRIED = ("unfinished", "no_answer")
"""Reasons for which a trace counts as a wrong attempt at its problem, though nobody judged it."""


@dataclass(frozen=True)
class Job:
    """What is to be curated. `prompts` are the gate's, by task; `traces` and `folder` the folders of the stages; in the
    file `votes` a judge's votes outlive the stage."""

    section: Curate
    student: Student
    prompts: Mapping[str, Sequence[str]]
    traces: Path
    folder: Path
    votes: Path
    verifier: Verifier
    say: Callable[[str], None]


@dataclass
class _State:
    """What is known of the traces so far. `waiting` are those that the judge is still to be asked about."""

    ledger: Ledger = field(default_factory=Ledger)
    candidates: Candidates = field(default_factory=Candidates)
    rows: list[int] = field(default_factory=list)  # of the candidates
    waiting: dict[int, tuple[Look, Judgement]] = field(default_factory=dict)


def curate(job: Job) -> dict[str, Any]:
    """The whole stage.

    Raises InputError for a student without a tokenizer, DistillError where the verifier or the judge cannot work at
    all, and OSError when the disk is full.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    pupil, state = meet(job.student, job.folder), _State()
    wanted = select.resolved(job.section.select, pupil.n_parameters)
    total = sum(shards.opened(path).metadata.num_rows for path in sorted(job.traces.glob("part-*.parquet")))
    _look(job, pupil, state, total)
    judged = _judge(job, state)
    for drop in (*exact(state.candidates), *near(state.candidates, job.section.duplicates)):
        state.ledger.drop(state.rows[drop.at], drop.reason, drop.detail, drop.beside)
    for drop in select.select(state.candidates, wanted, job.say):
        state.ledger.drop(state.rows[drop.at], drop.reason, drop.detail)
    with report.bar("written", total, job.say) as tell:
        state.ledger.write(job.traces, job.folder, tell)
    facts = state.ledger.facts()
    for line in report.table(facts, job.section.warn_share):
        job.say(line)
    return facts | {"judge": judged, "select": wanted.model_dump(mode="json"), "student_parameters": pupil.n_parameters}


def _look(job: Job, pupil: Pupil, state: _State, total: int) -> None:
    setup = Setup(job.section, job.prompts, pupil.tokenizer)
    found = job.folder / "contamination.jsonl"
    partial = found.with_suffix(".partial")
    with partial.open("wb") as file, report.bar("looked at", total, job.say) as tell:
        told: set[tuple[str, str]] = set()
        for looks in explore(setup, look.places(job.traces), job.folder):
            rows = [_enter(one, state) for one in looks]
            for one in looks:
                if one.match is not None and (one.problem_id, one.match.task) not in told:
                    told.add((one.problem_id, one.match.task))
                    file.write(orjson.dumps({"trace": one.id, **vars(one.match)}, option=orjson.OPT_APPEND_NEWLINE))
            _rule(job, state, looks, rows)
            tell(len(looks))
    partial.replace(found)


def _enter(one: Look, state: _State) -> int:
    """A look's row; what is wrong already is decided here."""
    tokens = one.features.tokens if one.features is not None else 0
    row = state.ledger.add(one.source, tokens)
    if one.verdict is not None:
        if one.match is not None:
            state.ledger.contaminated(row, one.verdict.detail, one.match)
        else:
            state.ledger.drop(row, one.verdict.reason, one.verdict.detail)
        if one.verdict.reason in TRIED:
            state.candidates.tried(one.problem_id, right=False)
    return row


def _rule(job: Job, state: _State, looks: Sequence[Look], rows: Sequence[int]) -> None:
    """The rules' judgement of what is left of these looks, all of them in one call."""
    alive = [(row, one) for row, one in zip(rows, looks, strict=True) if one.verdict is None]
    if not job.section.verify:
        for row, one in alive:
            _accept(state, row, one)
        return
    section = job.section.judge
    judged = job.verifier([(one.problem, one.answer) for _, one in alive if one.problem is not None])
    for (row, one), judgement in zip(alive, judged, strict=True):
        state.ledger.rule(row, Ruling(RULE, judgement.right, judgement.detail))
        if section is not None and judge.wanted(section.combine, judgement):
            state.waiting[row] = (replace(one, problem=None, answer=""), judgement)
        else:
            combine = "undecided" if section is None else section.combine
            _settle(state, row, one, judge.verdict(combine, judgement, None))


def _judge(job: Job, state: _State) -> dict[str, Any] | None:
    """The judge's rulings on what waits for them; what the manifest says of the judge, None where there is none."""
    if job.section.judge is None:
        return None
    panel = judge.connect(job.section.judge, job.votes, job.say)
    rows = {one.id: row for row, (one, _) in state.waiting.items()}
    with report.bar("judged", len(rows), job.say) as tell:
        for name, ruling in panel(_asked(job, frozenset(state.waiting))):
            row = rows[name]
            one, judgement = state.waiting.pop(row)
            state.ledger.rule(row, ruling)
            _settle(state, row, one, judge.verdict(job.section.judge.combine, judgement, ruling))
            tell(1)
    for row, (one, judgement) in state.waiting.items():  # the judge was not asked about these
        _settle(state, row, one, judge.verdict(job.section.judge.combine, judgement, None))
    return panel.facts


def _asked(job: Job, waiting: frozenset[int]) -> Iterator[judge.Asked]:
    """What the judge is asked about, read from the disk again: it may be every trace."""
    at = 0
    for table in shards.read_tables(job.traces):
        rows = [row for row in range(table.num_rows) if at + row in waiting]
        for row in table.take(rows).to_pylist() if rows else ():
            trace = shards.from_row(Trace, row)
            yield judge.Asked(trace.id, trace.problem, trace.completion.answer)
        at += table.num_rows


def _settle(state: _State, row: int, one: Look, verdict: Verdict | None) -> None:
    """What follows from all the rulings on an answer."""
    state.candidates.tried(one.problem_id, right=verdict is None)
    if verdict is None:
        _accept(state, row, one)
    else:
        state.ledger.drop(row, verdict.reason, verdict.detail)


def _accept(state: _State, row: int, one: Look) -> None:
    if one.features is not None:
        state.candidates.add(one.features)
        state.rows.append(row)
