"""What the command prints: runs, records and recipes in, lines for people out."""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, TextIO

from pydantic import BaseModel

from distill import shards
from distill.errors import InputError
from distill.gate_sections import expanded
from distill.judged import read_reports
from distill.records import REASONS, Check, Dropped, Failure, GateReport, Kept, Problem, Ruling, Score, Trace, printable
from distill.run import STAGES, Run

_PLACES: dict[str, tuple[str, str, type[Any]]] = {
    "problems": ("problems", "", Problem),
    "traces": ("sample", "", Trace),
    "failed": ("sample", "failed", Failure),
    "kept": ("curate", "", Kept),
    "dropped": ("curate", "dropped", Dropped),
}

_COUNTED = ("unfinished", "unverified", "repetition", "unboxed", "contamination")
"""The gate's terms that are counted, not estimated."""
MOST_CHECKS = 40
"""Rows of the table of checks, with those that passed among them."""


def summary(run: Run, stream: TextIO) -> None:
    """A table of the gate: every model on every task, and every check. Raises ShardError where it cannot be read."""
    from rich.console import Console

    reports = read_reports(run.root / STAGES["gate"] / "reports.json")
    if not reports:
        return
    console = Console(file=stream, width=None if stream.isatty() else 110, markup=False, highlight=False)
    console.print(_scores(reports))
    console.print(_checks(reports))
    for report in reports:
        for check in report.checks:
            if check.waiver:
                console.print(f"waived: {report.variant}:{_named(check)}: {printable(check.waiver)}", soft_wrap=True)
    passed = all(report.passed for report in reports)
    smoke = " (a smoke run: a task has a limit)" if any(report.smoke for report in reports) else ""
    console.print(f"gate {'passed' if passed else 'closed'}{smoke}")
    release = run.manifest("release")
    if release is not None and passed:
        console.print(f"release: {release.get('url') or run.root / release['path']}", soft_wrap=True)


def closed_because(run: Run) -> list[str]:
    """Why a run's gate is closed, a sentence for each check that did not pass; empty where it is open."""
    reports = read_reports(run.root / STAGES["gate"] / "reports.json")
    shut = [(report.variant, check) for report in reports for check in report.checks if not check.open]
    return [f"{variant}: {printable(check.why)}" for variant, check in shut]


def _named(check: Check) -> str:
    return f"{printable(check.task, '')}/{printable(check.term, '')}"


def _scores(reports: list[GateReport]) -> Any:
    """Tasks below each other, models beside each other: there may be a dozen of those, and hardly more than six of
    these."""
    from rich.table import Table

    models: dict[str, tuple[Score, ...]] = dict(reports[0].baselines)
    models |= {f"student,\n{report.variant}": report.scores for report in reports}
    shown = Table(title="avg@k in % ± clustered standard error")
    shown.add_column("task", overflow="fold", min_width=12)
    for model in models:
        shown.add_column(printable(model), justify="right")
    for task in dict.fromkeys(score.task for scores in models.values() for score in scores):
        found = (next((one for one in scores if one.task == task), None) for scores in models.values())
        shown.add_row(
            printable(task, ""),
            *("–" if one is None else f"{100 * one.value:.1f} ± {100 * one.stderr:.1f}" for one in found),
        )
    return shown


def _checks(reports: list[GateReport]) -> Any:
    """What was estimated, and whatever did not pass, a row each; what was counted, and passed, in one line. Where there
    are very many, all that passed are in that line."""
    from rich.table import Table

    made = [(report.variant, check) for report in reports for check in report.checks]
    counted = [one for one in made if one[1].outcome == "pass" and one[1].term in _COUNTED]
    if len(made) - len(counted) > MOST_CHECKS:
        counted = [one for one in made if one[1].outcome == "pass"]
    shown = Table("variant", "task", "check", "measured", "at least / most", "needed", "outcome", title="the gate")
    shown.columns[1].overflow = shown.columns[2].overflow = "fold"
    for variant, check in made:
        if (variant, check) not in counted:
            outcome = f"{check.outcome}, waived" if check.waiver else check.outcome
            numbers = (f"{number:.3f}" for number in (check.measured, check.bound, check.needed))
            shown.add_row(*(printable(one, "") for one in (variant, check.task, check.term)), *numbers, outcome)
    if counted:
        terms = dict.fromkeys(check.term for _, check in counted)
        shown.caption = f"{len(counted)} more checks passed, of {printable(', '.join(terms))}"
    return shown


def traces_so_far(run: Run) -> int:
    """How many traces are there while the stage is not sealed, those of shards included."""
    folder = run.root / STAGES["sample"]
    count = 0
    for path in (folder / "journal.jsonl", *folder.glob("shards/*/journal.jsonl")):
        if path.exists():
            with path.open("rb") as file:
                count += sum(1 for _ in file)
    return count


def records_of(run: Run, stage: str, limit: int, reason: str | None) -> Iterator[tuple[dict[str, Any], str]]:
    """The first records of a stage as data and as text; raises InputError for a stage that has none."""
    if stage not in _PLACES:
        raise InputError(f"{stage!r} cannot be looked at; write one of {', '.join(_PLACES)}")
    name, inner, kind = _PLACES[stage]
    folder = run.root / STAGES[name] / inner
    if run.manifest(name) is None:
        raise InputError(f"{run.root} has no {stage} yet; `distill {name} RECIPE` makes them")
    if reason is not None and kind is not Dropped:
        raise InputError(f"--reason is for dropped traces; write `distill peek {run.root} dropped --reason {reason}`")
    if reason is not None and reason not in REASONS:
        raise InputError(f"--reason {reason!r} is no reason; write one of {', '.join(REASONS)}")
    found = (one for one in shards.read_parts(folder, kind) if reason is None or one.reason == reason)
    for record in islice(found, limit):
        yield shards.to_row(record), _text(record)


def _text(record: Any) -> str:
    if isinstance(record, Dropped):
        beside = f"[beside it: {printable(record.beside)}]\n" if record.beside else ""
        why = f"── dropped: {record.reason} ({printable(record.detail)})"
        return f"{why}\n{_text(record.trace)}{_rulings(record.rulings)}{beside}"
    if isinstance(record, Trace):
        said = record.completion
        tokens = f", {record.tokens:,} tokens" if isinstance(record, Kept) else ""
        rulings = _rulings(record.rulings) if isinstance(record, Kept) else ""
        return (
            f"── {record.id}, {record.teacher}, {said.finish}{tokens}\n{printable(record.problem.prompt)}\n"
            f"[right answer: {printable(record.problem.answer)}]\n<think>\n{printable(said.reasoning)}\n</think>\n"
            f"{printable(said.answer)}\n{rulings}"
        )
    if isinstance(record, Problem):
        return (
            f"── {record.id}, {record.source}\n{printable(record.prompt)}\n[right answer: {printable(record.answer)}]\n"
        )
    return f"── {record.id}: {record.error} after {record.attempts} attempts: {printable(record.message)}\n"


def _rulings(rulings: Iterable[Ruling]) -> str:
    said = {True: "right", False: "wrong", None: "cannot tell"}
    lines = (f"[{printable(one.by)}: {said[one.right]}{_because(one.detail)}]\n" for one in rulings)
    return "".join(lines)


def _because(detail: str) -> str:
    return f", {printable(detail)}" if detail else ""


def explained(recipe: BaseModel, written: Any, overridden: list[str], *, texts: bool) -> list[str]:
    """The recipe line by line as `key: value`, with where the value came from and, if asked, what the key means.

    `written` is the recipe as plain data, with what was `overridden` in it.
    """
    return list(_explain(recipe, written, overridden, "", texts))


def _explain(section: BaseModel, written: Any, overridden: list[str], prefix: str, texts: bool) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}{name}"
        inner = written.get(name) if isinstance(written, dict) else None
        sections = list(_sections(key, value, inner))
        for under, part, below in sections:
            yield from _explain(part, below, overridden, f"{under}.", texts)
        if sections:
            continue
        here = isinstance(written, dict) and name in written
        changed = any(f"{key}.".startswith(f"{one}.") for one in overridden)
        source = "default" if not here else "--set" if changed else "recipe"
        yield f"{key}: {json.dumps(_json(value), ensure_ascii=False)}  [{source}]"
        if texts and field.description:
            yield f"    {' '.join(field.description.split())}"


def _sections(key: str, value: Any, written: Any) -> Iterator[tuple[str, BaseModel, Any]]:
    """The sections that a key holds, itself one, in a list or by name, each with what was written for it."""
    if isinstance(value, BaseModel):
        yield key, value, written
    elif isinstance(value, tuple):
        entries = expanded(written) if key == "gate.tasks" and isinstance(written, list) else written
        for at, item in enumerate(value):
            if isinstance(item, BaseModel):
                known = isinstance(entries, list) and at < len(entries)
                yield f"{key}.{at}", item, entries[at] if known else None
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, BaseModel):
                yield f"{key}.{name}", item, written.get(name) if isinstance(written, dict) else None


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def machine() -> dict[str, Any]:
    """What there is: cores, memory, GPUs, and the libraries that count."""
    import torch

    facts: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    facts["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    for name in ("torch", "transformers", "peft", "bitsandbytes", "lm_eval", "datasets", "huggingface_hub"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "missing"
    facts["gpus"] = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())] or "none"
    facts["cpu"] = torch.backends.cpu.get_cpu_capability()
    if torch.cuda.is_available():
        facts["bf16"] = torch.cuda.is_bf16_supported()
    return facts
