"""The scores: takes a run's state, gives every model's on every task with its interval, what differs from the base, and
what merging and quantizing changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill import pages
from distill.pages import Column, Content, Html, element
from distill.records import Score
from distill.report.state import BASELINES, State
from distill.report.words import count, figure, missing

AGAINST = ("base", "previous", "bf16")


@dataclass(frozen=True)
class _Scores:
    """Scores by model and task; `confidence` is that of two-sided intervals."""

    by_model: Mapping[str, Mapping[str, Score]]
    confidence: float

    @property
    def tasks(self) -> list[str]:
        """In the order in which they stand."""
        return list(dict.fromkeys(task for scores in self.by_model.values() for task in scores))


def scores(state: State) -> list[Content]:
    """The table of scores, the paired differences, and the merge."""
    if not state.reports:
        return [missing("There are no scores yet."), *_merge(state)]
    known: dict[str, dict[str, Score]] = {}
    for report in state.reports:
        for model, those in (*report.baselines.items(), (report.variant, report.scores)):
            known.setdefault(model, {score.task: score for score in those})
    ordered = {model: known[model] for model in [*state.models, *known] if model in known}
    found = _Scores(ordered, state.confidence)
    return [_table(found), *_differences(found), *_merge(state)]


def _table(found: _Scores) -> Html:
    columns = [
        Column("task", False, roomy=True),
        Column("problems × samples"),
        *(Column(model) for model in found.by_model),
    ]
    rows = [
        [task, _asked(found, task), *(_cell(found, scores.get(task), task) for scores in found.by_model.values())]
        for task in found.tasks
    ]
    caption = f"avg@k in %, with {found.confidence:.0%} intervals clustered by problem"
    return pages.table(caption, columns, rows)


def _asked(found: _Scores, task: str) -> str:
    return _protocol(_usual(found, task))


def _usual(found: _Scores, task: str) -> Score:
    """The last model's score: a student's, where there is one."""
    return [scores[task] for scores in found.by_model.values() if task in scores][-1]


def _protocol(score: Score) -> str:
    return f"{score.n_problems:,} × {score.k_samples}"


def _cell(found: _Scores, score: Score | None, task: str) -> Content:
    if score is None:
        return "not measured"
    other = "" if _protocol(score) == _asked(found, task) else f"{_protocol(score)}, "
    more = "smoke run, " if score.smoke else ""
    early = f"of {score.planned:,} planned, " if score.n_problems < score.planned else ""
    cut = f"{other}{more}{early}unfinished {score.unfinished:.1%}"
    under = (element("small", _interval(score, found.confidence)), element("small", cut))
    return pages.joined([f"{100 * score.value:.1f}", *under])


def _interval(score: Score, confidence: float) -> str:
    from distill.statistics import share_bounds

    if not score.by_problem:
        return "no interval"
    bounds = share_bounds(list(score.by_problem.values()), (1 + confidence) / 2)
    return f"{100 * bounds.lower:.1f} to {100 * bounds.upper:.1f}"


def _differences(found: _Scores) -> list[Content]:
    rows = [
        row
        for model, scores in found.by_model.items()
        for other in AGAINST
        if model not in BASELINES and other != model and other in found.by_model
        for task in found.tasks
        if (row := _difference(found, (model, other, task), scores.get(task), found.by_model[other].get(task)))
    ]
    if not rows:
        return []
    columns = [
        *(Column("model", False), Column("against", False), Column("task", False, roomy=True), Column("difference")),
        *(Column(f"{found.confidence:.0%} interval"), Column("", False)),
    ]
    note = "Differences in points of 100, each on its own: where there are many, some differ by chance alone."
    return [element("h3", "Differences"), pages.table(note, columns, rows)]


def _difference(
    found: _Scores, names: tuple[str, str, str], score: Score | None, other: Score | None
) -> Sequence[Content] | None:
    from distill.statistics import difference

    if score is None or other is None or not score.by_problem or not other.by_problem:
        return None
    told = difference(score, other, found.confidence)
    sign = "▲ better" if told.mean > 0 else "▼ worse"
    said = f"{sign}" if told.significant else "not told apart"
    how = "" if told.paired else ", not paired: other problems"
    return [*names, f"{100 * told.mean:+.1f}", f"{100 * told.low:+.1f} to {100 * told.high:+.1f}", said + how]


def _merge(state: State) -> list[Content]:
    facts: Any = (state.manifests.get("gate") or {}).get("merge")
    if not facts or "merged" not in facts:
        return []
    rows = [_compared(name, facts[key]) for key, name in MERGES if key in facts]
    columns = [
        *(Column("merged", False), Column("mean KL, nats per token"), Column("largest difference of logits")),
        Column("another token is likeliest"),
    ]
    caption = f"What merging the adapter changed, at {count(facts.get('positions'))} positions of kept traces"
    return [element("h3", "Merging"), pages.table(caption, columns, rows)]


MERGES = (("merged", "as it is released"), ("into_original", "into the base's original weights (not done)"))


def _compared(name: str, facts: Mapping[str, float]) -> list[Content]:
    return [
        name,
        figure(facts.get("kl")),
        figure(facts.get("largest_logit_difference")),
        f"{100 * facts.get('other_likeliest', 0.0):.2f} %",
    ]
