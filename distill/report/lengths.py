"""How long traces and answers are: takes a run's state and the surveyed answers, gives histograms as markup."""

from collections.abc import Sequence
from statistics import median

import numpy as np
import pyarrow as pa

from distill import pages, shards
from distill.charts.spread import Group, histogram
from distill.errors import ShardError
from distill.pages import Column, Content, element
from distill.report.state import State
from distill.report.survey import Survey
from distill.report.words import count, missing

SHARE_95 = 0.95


def lengths(state: State, surveys: Sequence[Survey]) -> list[Content]:
    """The kept traces' lengths, and for each task the answers' by model."""
    said = _kept(state)
    if not surveys:
        return [*said, missing("No answers were measured yet, so there are no lengths of them.")]
    pictures = [
        pages.figure(
            histogram([Group(model, tokens) for model, tokens in one.lengths.items()], one.task, "tokens"),
            f"Lengths of the answers to {one.task}, thinking included.",
        )
        for one in surveys
    ]
    rows = [
        [
            f"{one.task}, {model}",
            count(len(tokens)),
            f"{median(tokens):,.0f}",
            f"{_most_of(tokens):,}",
            count(max(tokens)),
        ]
        for one in surveys
        for model, tokens in one.lengths.items()
        if len(tokens)
    ]
    columns = [
        Column("task and model", False, roomy=True),
        *map(Column, ("samples", "median", "95 % are within", "longest")),
    ]
    table = pages.table("Answers' lengths in tokens", columns, rows)
    return [
        *said,
        element("h3", "Answers"),
        element("div", *pictures, class_="pair"),
        pages.folded("All lengths in numbers", table),
    ]


def _kept(state: State) -> list[Content]:
    if "curate" not in state.manifests:
        return [missing("No traces are kept yet.")]
    tokens = _tokens(state)
    if not len(tokens):
        return [missing("No trace was kept.")]
    return [
        pages.figure(
            histogram([Group("kept traces", tokens)], "Kept traces", "tokens"),
            f"Lengths of the kept traces in the student's tokens: {len(tokens):,}, median {np.median(tokens):,.0f}, "
            f"95 % within {np.quantile(tokens, SHARE_95):,.0f}, longest {tokens.max():,}.",
        )
    ]


def _tokens(state: State) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """One column alone of the kept traces; raises ShardError for a part that cannot be read."""
    found = [np.empty(0, np.int64)]
    for path in sorted(state.folder("curate").glob("part-*.parquet")):
        with shards.opened(path) as file:
            try:
                found.append(file.read(columns=["tokens"]).column("tokens").to_numpy())
            except (pa.ArrowInvalid, pa.ArrowIOError, KeyError) as error:
                raise ShardError(f"{path} has no lengths that can be read: {error}") from error
    return np.concatenate(found)


def _most_of(tokens: Sequence[int]) -> int:
    return int(np.quantile(np.asarray(tokens), SHARE_95, method="higher"))
