"""The model card: reports and manifests in, Markdown out. Every number in it comes from one of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from distill.records import GateReport, Sampling, Score

TEMPLATE = Path(__file__).with_name("card.md")


def card(name: str, reports: Sequence[GateReport], manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """The card's text; raises KeyError where a manifest lacks a number, rather than leave it out."""
    problems, traces, kept, student, gate = (
        manifests[stage] for stage in ("problems", "sample", "curate", "train", "gate")
    )
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        name=name,
        base=_line(student["base"]),
        base_revision=_line(student["base_revision"] or "as it lay there"),
        quantization=student["quantization"],
        method="an adapter, merged" if student["adapter"] else "all weights",
        learning_rate=student["learning_rate"],
        steps=student["steps"],
        tokens=f"{student['tokens']:,}",
        loss_tokens=f"{student['loss_tokens']:,}",
        teacher=_line(traces["teacher"]),
        served=_line(", ".join(traces["served_models"])),
        first=traces["first_created"] or "unknown",
        last=traces["last_created"] or "unknown",
        n_problems=problems["problems"],
        n_traces=traces["traces"],
        n_failed=traces["failed"],
        cost=_cost(traces["cost_usd"]),
        n_kept=kept["kept"],
        dropped="\n".join(f"| {reason} | {count} |" for reason, count in kept["dropped"].items()) or "| none | 0 |",
        targets=", ".join(kept["decontaminated_against"]),
        confidence=f"{gate['confidence']:.0%}",
        scores=_scores(reports),
        checks=_checks(reports),
        temperature=Sampling.temperature,
        top_p=Sampling.top_p,
    )


def _cost(cost_usd: float | None) -> str:
    return "not known" if cost_usd is None else f"${cost_usd:.2f}"


def _scores(reports: Sequence[GateReport]) -> str:
    rows = [(report.variant, score) for report in reports for score in report.scores]
    rows += [(name, score) for name, scores in reports[0].baselines.items() for score in scores]
    return "\n".join(_score(who, score) for who, score in rows)


def _score(who: str, score: Score) -> str:
    return (
        f"| {who} | {score.task} | {score.value:.3f} ± {score.stderr:.3f} | {score.n_problems} | {score.k_samples} "
        f"| {score.unfinished:.3f} |"
    )


def _checks(reports: Sequence[GateReport]) -> str:
    return "\n".join(
        f"| {report.variant} | {check.task} | {check.term} | {check.measured:.3f} | {check.bound:.3f} "
        f"| {check.needed:.3f} | {check.outcome} |"
        for report in reports
        for check in report.checks
    )


def _line(text: str) -> str:
    """Text from elsewhere on one line, with what would be markup escaped."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!" else char for char in " ".join(str(text).split()))
