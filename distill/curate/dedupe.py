"""Duplicates: candidates in, and for each that says again what another one says, a `Drop`.

Which one stays is stated for each kind, and depends on nothing but the traces: not on the order in which they came.
Each function decides at once, takes what it drops off `candidates.left`, and gives the sentences one by one.

Problems and reasoning are compared by MinHash signatures (`signatures`), and pairs are found by `neighbours`: not by
rensa's own index, which takes only rensa's own objects, and these cannot be made from the values that workers send.

Similarity alone is no evidence where prompts are made from a template: there the words that two problems share say
nothing. So near problems must agree in their numbers and their answer too; and where two others are about as similar
but disagree in these, or eight are in other words, every word counts.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from distill.curate.candidates import Candidates, Drop, Places
from distill.curate.neighbours import ALONE, Neighbours, firsts, grouped, templates
from distill.curate_sections import Duplicates

_OTHERS, _WORDINGS = 2, 8
"""Similar ones with other numbers or answers, or in other words, by which a template is told."""

Flags = npt.NDArray[np.bool_]


def exact(candidates: Candidates) -> Iterator[Drop]:
    """Traces of the same problem with the same text, but for white space, case and typography: the first id stays."""
    ranks = candidates.ranks()
    alive = np.flatnonzero(candidates.left)
    alive = alive[np.argsort(ranks[alive])]
    groups = grouped(candidates.digests[alive])
    first = firsts(groups)[groups]
    again = np.flatnonzero(first != np.arange(len(alive)))
    dropped, stays = alive[again], alive[first[again]]
    candidates.drop(dropped)
    ids = candidates.ids
    return (
        Drop(int(at), "duplicate", f"the same as {ids[other]}", ids[other])
        for at, other in zip(dropped, stays, strict=True)
    )


def near(candidates: Candidates, section: Duplicates) -> Iterator[Drop]:
    """Traces of problems that are another problem in other words, then traces whose reasoning is another's.

    Problems are one where their words in order are the same but for articles and words that only ask, or where their
    similarity is `section.near_problems` or more; in both cases only if their numbers and operators, in order, and
    their reference answers are the same too. What is near to a near one belongs to them. The problem with the most
    traces left stays, then the lowest id; the traces of the others are dropped.

    Reasoning is compared within a problem, and across problems that are of no template where the numbers in it and the
    reference answers are the same too. From the shortest trace on (tokens, then id), one is dropped if its similarity
    to one that stays is `section.near_reasoning` or more, so that those that stay are pairwise different.
    """
    traces = np.bincount(candidates.problem[candidates.left], minlength=len(candidates.problems))
    ids = candidates.problems.ids
    asked = np.array(sorted(np.flatnonzero(traces), key=lambda at: (-traces[at], ids[at])), np.int64)
    keys, template = _templates(candidates, asked)
    drops: list[Iterator[Drop]] = []
    if section.near_problems is not None:
        same = _clusters(candidates, asked, np.where(template[asked], ALONE, keys), section.near_problems)
        drops.append(_near_problems(candidates, asked, asked[same]))
    if section.near_reasoning is not None:
        ranks = candidates.ranks()
        drops.append(_near_reasoning(candidates, section.near_reasoning, ranks))
        drops.append(_near_reasoning(candidates, section.near_reasoning, ranks, template))
    return (drop for some in drops for drop in some)


def _templates(candidates: Candidates, asked: Places) -> tuple[Places, Flags]:
    """For each of these problems the group of those with its numbers and its answer; and for every problem, whether it
    is made from a template."""
    problems = candidates.problems
    keys = grouped(np.stack([problems.marks[asked], problems.answer[asked]], axis=1))
    template = np.zeros(len(problems), np.bool_)
    words = grouped(np.stack([keys.astype(np.uint64), problems.content[asked]], axis=1))
    template[asked] = templates(problems.asked, asked, keys, _OTHERS)
    template[asked] |= templates(problems.asked, asked, words, _WORDINGS)
    return keys, template


def _near_problems(candidates: Candidates, asked: Places, other: Places) -> Iterator[Drop]:
    """Drops the traces of the problems `asked` for which `other` ones stay."""
    problems = candidates.problems
    stays = np.arange(len(problems))
    stays[asked] = other
    problem = candidates.problem
    dropped = np.flatnonzero(candidates.left & (stays[problem] != problem))
    candidates.drop(dropped)
    names = (problems.ids[at] for at in stays[problem[dropped]])
    return (
        Drop(int(at), "near_duplicate", f"its problem is problem {name} in other words", name)
        for at, name in zip(dropped, names, strict=True)
    )


def _clusters(candidates: Candidates, asked: Places, keys: Places, threshold: float) -> Places:
    """For each of the problems, which are in the order of preference, the place of the one that stays for it; `keys`
    are the groups in which similarity counts."""
    problems = candidates.problems
    words = grouped(np.stack([problems.marks[asked], problems.answer[asked], problems.content[asked]], axis=1))
    by_words = np.argsort(words, kind="stable")
    starts, ends = (np.searchsorted(words[by_words], np.arange(len(asked)), side) for side in ("left", "right"))
    near_ = Neighbours(problems.asked, asked, keys, threshold)
    taken = np.zeros(len(asked), np.bool_)
    stays = np.arange(len(asked))
    accompanied = np.flatnonzero(np.bincount(words)[words] > 1)
    for at in np.union1d(accompanied, near_.places).tolist():
        waiting = [] if taken[at] else [at]
        taken[at] = True
        while waiting:
            one = waiting.pop()
            stays[one] = at
            same = by_words[starts[words[one]] : ends[words[one]]]
            starts[words[one]] = ends[words[one]]  # those of the same words are gathered once
            same = same[~taken[same]]
            taken[same] = True
            waiting += [*same.tolist(), *near_.take(one, taken)[0].tolist()]
    return stays


def _near_reasoning(
    candidates: Candidates, threshold: float, ranks: Places, template: Flags | None = None
) -> Iterator[Drop]:
    """Compares within problems; or, where it is told which problems are of a template, across the others."""
    alive = np.flatnonzero(candidates.left)
    alive = alive[np.lexsort((ranks[alive], candidates.tokens[alive]))]
    groups = candidates.problem[alive] if template is None else _across(candidates, alive, template)
    near_ = Neighbours(candidates.sketches, alive, groups, threshold)
    taken = np.zeros(len(alive), np.bool_)
    stays, similar = np.arange(len(alive)), np.ones(len(alive))
    for at in near_.places.tolist():
        if not taken[at]:
            taken[at] = True
            found, share = near_.take(at, taken)
            stays[found], similar[found] = at, share
    places = np.flatnonzero(stays != np.arange(len(alive)))
    dropped, others, shares = alive[places], alive[stays[places]], similar[places]
    candidates.drop(dropped)
    ids, where = candidates.ids, "" if template is None else ", of another problem"
    return (
        Drop(
            int(at),
            "near_duplicate",
            f"its reasoning is {share:.0%} the same as that of {ids[other]}{where}, which is no longer",
            ids[other],
        )
        for at, other, share in zip(dropped, others, shares, strict=True)
    )


def _across(candidates: Candidates, alive: Places, template: Flags) -> Places:
    """The groups in which reasoning is compared across problems: same numbers, same answer, nothing of a template."""
    problem = candidates.problem[alive]
    keys = grouped(np.stack([candidates.numbers[alive], candidates.problems.answer[problem]], axis=1))
    return np.where(template[problem] | templates(candidates.sketches, alive, keys, _OTHERS), ALONE, keys)
