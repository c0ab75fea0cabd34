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
from distill.records import REASONS, Dropped, Failure, GateReport, Kept, Problem, Ruling, Score, Trace, printable
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


def summary(run: Run, stream: TextIO) -> None:
    """A table of the gate: every model on every task, and every check."""
    from rich.console import Console
    from rich.table import Table

    path = run.folder("gate") / "reports.json"
    if not path.exists():
        return
    reports = shards.read_list(path, GateReport)
    console = Console(file=stream, width=None if stream.isatty() else 110)
    rows: dict[str, tuple[Score, ...]] = dict(reports[0].baselines)
    rows |= {f"student, {report.variant}": report.scores for report in reports}
    scores = Table("model", *(score.task for score in reports[0].scores), title="avg@k ± clustered standard error")
    for name, values in rows.items():
        scores.add_row(name, *(f"{score.value:.1%} ± {score.stderr:.1%}" for score in values))
    console.print(scores)
    console.print(_checks(reports))
    for report in reports:
        for check in report.checks:
            if check.waiver:
                console.print(f"waived: {report.variant}:{check.task}/{check.term}: {printable(check.waiver)}")
    passed = all(report.passed for report in reports)
    smoke = " (a smoke run: a task has a limit)" if any(report.smoke for report in reports) else ""
    console.print(f"gate {'passed' if passed else 'closed'}{smoke}")
    release = run.manifest("release")
    if release is not None and passed:
        console.print(f"release: {run.root / release['path']}", soft_wrap=True)


def _checks(reports: list[GateReport]) -> Any:
    """What was estimated, and whatever did not pass, a row each; what was counted, and passed, in one line."""
    from rich.table import Table

    shown = Table("variant", "task", "check", "measured", "at least / most", "needed", "outcome", title="the gate")
    counted = 0
    for report in reports:
        for check in report.checks:
            if check.outcome == "pass" and check.term in _COUNTED:
                counted += 1
                continue
            outcome = f"{check.outcome}, waived" if check.waiver else check.outcome
            numbers = (f"{number:.3f}" for number in (check.measured, check.bound, check.needed))
            shown.add_row(report.variant, check.task, check.term, *numbers, outcome)
    if counted:
        shown.caption = f"{counted} more checks passed, of {', '.join(_COUNTED)}"
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
    """The recipe line by line as `key: value`, with where the value came from and, if asked, what the key means."""
    return list(_explain(recipe, written, overridden, "", texts))


def _explain(section: BaseModel, written: Any, overridden: list[str], prefix: str, texts: bool) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}{name}"
        inner = written.get(name) if isinstance(written, dict) else None
        if isinstance(value, BaseModel):
            yield from _explain(value, inner, overridden, f"{key}.", texts)
            continue
        if isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for at, item in enumerate(value):
                part = inner[at] if isinstance(inner, list) and at < len(inner) else None
                yield from _explain(item, part, overridden, f"{key}.{at}.", texts)
            continue
        here = isinstance(written, dict) and name in written
        source = "--set" if key in overridden else "recipe" if here else "default"
        yield f"{key}: {json.dumps(_json(value), ensure_ascii=False)}  [{source}]"
        if texts and field.description:
            yield f"    {' '.join(field.description.split())}"


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
