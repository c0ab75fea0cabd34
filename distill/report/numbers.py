"""The road's numbers: takes a run's state, gives what was asked, kept, dropped, paid and trained, as markup."""

from collections.abc import Mapping
from typing import Any

from distill import pages
from distill.charts import Series, line_chart
from distill.pages import Column, Content, Html, element
from distill.report.state import State
from distill.report.words import count, duration, figure, missing, moment, money, share
from distill.run import STAGES

Facts = Mapping[str, Any]
REASONS = 8
"""So many of the checks that close the gate stand at the top."""


def outcome(state: State) -> list[Html]:
    """How the gate ended, in a line."""
    gate = state.manifests.get("gate")
    if gate is None:
        return [element("p", "The gate has not judged this run yet.", class_="verdict open")]
    if not gate.get("passed"):
        said = element("p", "✗ The gate is closed: nothing is released.", class_="verdict bad")
        return [said, *_because(state, gate)]
    checks = [check for report in state.reports for check in report.checks]
    waived = " (with waivers)" if any(check.waiver and check.outcome != "pass" for check in checks) else ""
    said = element("p", f"✓ The gate is open{waived}.", class_="verdict good")
    release = state.manifests.get("release")
    if release is None:
        return [said]
    pushed = f", and pushed as {release.get('tag')} to {release['url']}" if "url" in release else ""
    return [said, element("p", f"Released to {release.get('path', '')}{pushed}.")]


def _because(state: State, gate: Facts) -> list[Html]:
    shut = [f"{report.variant}: {check.why}" for report in state.reports for check in report.checks if not check.open]
    shut = shut or str(gate.get("closed_because", "")).splitlines()
    more = [f"and {len(shut) - REASONS:,} more, see below"] if len(shut) > REASONS else []
    return [element("ul", *(element("li", why) for why in [*shut[:REASONS], *more]))]


def tiles(state: State) -> Html:
    """The numbers that come first."""
    problems, traces, kept, student = (
        state.manifests.get(stage, {}) for stage in ("problems", "sample", "curate", "train")
    )
    shown = [
        ("problems", problems.get("problems"), count),
        ("traces sampled", traces.get("traces"), count),
        ("attempts failed", traces.get("failed"), count),
        ("traces kept", kept.get("kept"), count),
        ("paid to the teacher", traces.get("cost_usd"), money),
        ("tokens trained on", student.get("tokens"), count),
    ]
    tiles = [("–" if value is None else written(value), name) for name, value, written in shown]
    return element(
        "div", *(element("div", element("b", said), name, class_="tile") for said, name in tiles), class_="tiles"
    )


def road(state: State) -> list[Content]:
    """The stages, the teacher, and what curation dropped."""
    rows = [_stage(folder, state.manifests.get(stage)) for stage, folder in STAGES.items()]
    columns = [Column("stage", False), Column("state", False), Column("took")]
    return [pages.table("Stages", columns, rows), *_teacher(state), *_curation(state)]


def training(state: State) -> list[Content]:
    """The loss, and what the training was."""
    said: list[Content] = []
    facts = state.manifests.get("train")
    if facts is None:
        said.append(missing("The student is not trained yet."))
    else:
        said.append(pages.facts(_student(facts)))
    loss: list[tuple[float, float]] = []
    held_out: list[tuple[float, float]] = []
    for line in state.metrics():
        for name, points in (("loss", loss), ("held_out_loss", held_out)):
            if isinstance(line.get(name), int | float):
                points.append((line["step"], line[name]))
    if not loss:
        return [*said, missing("There is no metrics.jsonl, and so no loss curve, yet.")]
    series = [Series("training loss, smoothed over its steps", loss, noisy=True)]
    series += [Series("held-out loss", held_out)] if held_out else []
    ends = f"from {figure(loss[0][1])} to {figure(loss[-1][1])} nats per token over {len(loss):,} steps"
    ends += f"; held-out {figure(held_out[-1][1])} at the end" if held_out else "; nothing was held out"
    return [*said, pages.figure(line_chart(series, "Loss", "step", "nats per token"), f"Training loss {ends}.")]


def _stage(folder: str, facts: Facts | None) -> list[Content]:
    if facts is None:
        return [folder, element("span", "not done", class_="open"), ""]
    return [folder, f"done {moment(facts.get('sealed'))}", duration(facts.get("seconds"))]


def _teacher(state: State) -> list[Content]:
    facts = state.manifests.get("sample")
    if facts is None:
        return [element("h3", "The teacher"), missing("The traces are not sealed yet.")]
    spent = facts.get("spent_usd")
    pairs: list[tuple[str, Content]] = [
        ("teacher", str(facts.get("teacher", "not known"))),
        ("served as", _names(facts.get("served_models"))),
        ("provider", _names(facts.get("providers"))),
        ("first answer", str(facts.get("first_created") or "not known")),
        ("last answer", str(facts.get("last_created") or "not known")),
        ("traces", count(facts.get("traces"))),
        ("attempts that failed", count(facts.get("failed"))),
        ("tokens of the answers", count(facts.get("completion_tokens"))),
        ("cost of the traces", money(facts.get("cost_usd"))),
    ]
    pairs += [("spent in all", money(spent))] if spent is not None else []
    pairs += [("problems the budget left out", count(facts["left_undone"]))] if facts.get("left_undone") else []
    return [element("h3", "The teacher"), pages.facts(pairs)]


def _names(names: Any) -> str:
    return ", ".join(map(str, names)) if names else "not known"


def _curation(state: State) -> list[Content]:
    facts = state.manifests.get("curate")
    if facts is None:
        return [element("h3", "Kept and dropped"), missing("The traces are not curated yet.")]
    read = facts.get("read")
    counted = [("kept", facts.get("kept")), *_pairs(facts.get("dropped"))]
    rows: list[list[Content]] = [
        [name, count(number), share(number, read), _bar(number, read)] for name, number in counted
    ]
    columns = [Column("reason", False), Column("traces"), Column("of all"), Column("", False)]
    said: list[Content] = [
        element("h3", "Kept and dropped"),
        element(
            "p",
            f"Of {count(read)} traces {count(facts.get('kept'))} were kept, with {count(facts.get('tokens'))} tokens "
            "of the student's. Each of the others is counted once, under the first reason that held.",
        ),
        pages.table("Traces by what became of them", columns, rows),
    ]
    sources = [
        [name, count(one.get("read")), count(one.get("kept")), share(one.get("kept"), one.get("read"))]
        for name, one in _pairs(facts.get("by_source"))
    ]
    if sources:
        columns = [Column("source", False), Column("read"), Column("kept"), Column("of all")]
        said.append(pages.folded("By source", pages.table("Traces by source", columns, sources)))
    return [*said, *_contamination(facts)]


def _contamination(facts: Facts) -> list[Content]:
    against = ", ".join(map(str, facts.get("decontaminated_against", ()))) or "no task"
    said = element("p", f"Traces were looked for in the prompts of {against}.")
    rows = [
        [task, ", ".join(f"{count(number)} by {stage}" for stage, number in _pairs(stages))]
        for task, stages in _pairs(facts.get("by_task"))
    ]
    if not rows:
        return [said]
    columns = [Column("task", False), Column("traces dropped", False)]
    return [said, pages.table("Traces found in a task of the gate, and dropped", columns, rows)]


def _student(facts: Facts) -> list[tuple[str, Content]]:
    how = "an adapter" if facts.get("adapter") else "all weights"
    held_out = facts.get("held_out_loss")
    pairs: list[tuple[str, Content]] = [
        ("base", str(facts.get("base", "not known"))),
        ("revision", str(facts.get("base_revision") or "as it lay there")),
        ("trained", f"{how}, base in {facts.get('quantization', 'not known')}"),
        ("trainable parameters", count(facts.get("trainable_parameters"))),
        ("traces", count(facts.get("traces"))),
        ("held out", count(facts.get("held_out"))),
        ("steps", count(facts.get("steps"))),
        ("tokens", count(facts.get("tokens"))),
        ("tokens of the loss", count(facts.get("loss_tokens"))),
        ("learning rate", figure(facts.get("learning_rate"))),
        ("tokens per second", figure(facts.get("tokens_per_s"))),
        ("peak memory, GiB", figure(facts.get("peak_memory_gib"))),
    ]
    return [*pairs, ("held-out loss", figure(held_out))] if held_out is not None else pairs


def _pairs(data: Any) -> list[tuple[str, Any]]:
    return [(str(name), value) for name, value in data.items()] if isinstance(data, Mapping) else []


def _bar(part: Any, whole: Any) -> Html:
    """A bar beside its number, which says the same."""
    wide = 100 * part / whole if isinstance(part, int) and isinstance(whole, int) and whole else 0.0
    return Html(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="8" fill="#767676" fill-opacity="0.18"/><rect width="{wide:.1f}" height="8" '
        'fill="#3b7fc4"/></svg>'
    )
