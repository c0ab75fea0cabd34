"""Which of the good traces are taken, by a stated aim: candidates in, and a `Drop` for each that is not taken.

The steps, in their order: the difficulty of the problems, the traces of each problem, the mix of short and long, the
balance of the sources, the budget of tokens. Each looks at what the steps before it left, and goes by the traces alone:
ids decide ties, and the order of arrival plays no part.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from distill.curate.candidates import Candidates, Drop, Places, Sketches
from distill.curate_sections import Select

SMALL = 3_000_000_000
"""Parameters up to which a student is small: up to which arXiv 2502.12143 found that long traces alone teach less."""

_MOST_DIVERSE = 64

Say = Callable[[str], None]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pool:
    """What is left to select from, from the shortest trace to the longest (ties by id).

    `at` are the places in the candidates; `problem` and `source` are numbers, those of problems in the order of their
    ids and those of sources in the order of their names; `turn` is how many traces of its problem are taken before
    each.
    """

    at: Places
    problem: Places
    source: Places
    tokens: Places
    turn: Places

    def without(self, dropped: Flags) -> "Pool":
        """What is left when these are dropped; turns count what is left."""
        stay = np.flatnonzero(~dropped)
        order = np.lexsort((self.turn[stay], self.problem[stay]))
        turn = np.empty(len(stay), np.int64)
        turn[order] = _numbered(self.problem[stay[order]])
        return Pool(self.at[stay], self.problem[stay], self.source[stay], self.tokens[stay], turn)


Tell = Callable[[Pool, int], str]
"""Says of the trace at a place in a pool why it is dropped."""


def resolved(section: Select, n_parameters: int | None) -> Select:
    """The section with what was left out filled in by the student's size.

    Up to three billion parameters: `long_share` 0.2 and `prefer` shorter. Such students learn less from long traces
    than from short ones, and most from one long to four short ones (Li et al., 2025, "Small Models Struggle to Learn
    from Strong Reasoners", arXiv 2502.12143: Mix-Long). There the long ones did not leave others out, so this default
    gives way where it would cost more than half of the traces (`long_ones_over`).

    Above: `prefer` diverse, and no bound on long ones. More distinct ways to an answer teach more (Yuan et al., 2023,
    arXiv 2308.01825, rejection sampling), and large students gain from long traces (arXiv 2502.12143).

    `prefer` alone drops nothing: it says which traces come first where something else bounds how many are taken.
    `per_problem` is never filled in: many answers to a question taught more than one (Guha et al., 2025, OpenThoughts,
    arXiv 2506.04178). Nor is what no source gives a value for. For a student of unknown size nothing is filled in.
    """
    stated = {name: value for name, value in section if value is not None}
    sized: dict[str, object] = {}
    if n_parameters is not None:
        sized = {"prefer": "shorter", "long_share": 0.2} if n_parameters <= SMALL else {"prefer": "diverse"}
    filled = {name: stated.get(name, sized.get(name)) for name in Select.model_fields}
    return Select.model_construct(_fields_set=set(stated), **filled)


def select(candidates: Candidates, section: Select, say: Say = lambda text: None) -> Iterator[Drop]:
    """Decides on all that is left, takes what it drops off `candidates.left`, and gives the sentences one by one.

    `say` hears of a setting that these traces cannot keep, and that is left out for that. A `long_share` that
    `resolved` filled in is known by `section.model_fields_set`, where only what was stated is.
    """
    drops: list[Iterator[Drop]] = []
    pool = _pool(candidates, section)
    if section.pass_rate is not None:
        dropped = _off_difficulty(candidates, pool, section.pass_rate)
        drops.append(_drops(candidates, pool, dropped, "off_difficulty", _tried(candidates, section.pass_rate)))
        pool = pool.without(dropped)
    if section.per_problem is not None:
        dropped = pool.turn >= section.per_problem
        drops.append(_drops(candidates, pool, dropped, "enough_for_problem", _enough(section)))
        pool = pool.without(dropped)
    if section.long_share is not None and section.long_share < 1:
        gives_way = "long_share" not in section.model_fields_set
        dropped = long_ones_over(pool, section.long_tokens, section.long_share, gives_way, say)
        drops.append(_drops(candidates, pool, dropped, "off_mix", _mixed(section)))
        pool = pool.without(dropped)
    if section.source_share is not None and section.source_share < 1:
        dropped = over_share(pool, section.source_share, say)
        drops.append(_drops(candidates, pool, dropped, "off_balance", _balanced(candidates, section)))
        pool = pool.without(dropped)
    if section.max_total_tokens is not None:
        dropped = over_budget(pool, section.max_total_tokens)
        drops.append(_drops(candidates, pool, dropped, "over_budget", _spent(section.max_total_tokens)))
    return (drop for some in drops for drop in some)


def outside(right: Places, attempts: Places, window: tuple[float, float]) -> Flags:
    """Which problems are too hard or too easy: those of two attempts and more of which a share outside of the window,
    bounds included, was right."""
    share = right / np.maximum(attempts, 1)
    return (attempts > 1) & ((share < window[0]) | (share > window[1]))


def turns(problem: Places, at: Places, sketches: Sketches | None, most: int) -> Places:
    """For traces from the shortest to the longest, how many of their problem are taken before each.

    Without sketches: in that order. With sketches, whose rows are `at`, the shortest comes first, and then always the
    one that is least similar to those before it, going by the most similar of them (greedy max-min distance; the
    shorter of equal ones). That holds for the first `most` of a problem; the others follow from the shortest on.
    """
    order = np.argsort(problem, kind="stable")
    turn = np.empty(len(problem), np.int64)
    turn[order] = _numbered(problem[order])
    if sketches is not None:
        starts = np.flatnonzero(turn[order] == 0)
        sizes = np.diff(np.append(starts, len(order)))
        for start, size in zip(starts[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True):
            members = order[start : start + size]
            turn[members[_diverse(sketches[at[members]], most)]] = np.arange(size)
    return turn


def long_ones_over(pool: Pool, long_tokens: int, share: float, gives_way: bool, say: Say) -> Flags:
    """Which long traces are too many for long ones to be `share` of what is kept.

    First those are kept that are all that their problem has (of several, the shortest), so that as few problems as can
    be are lost, then those of other problems; the shortest first in both. Where there are too few short ones for even
    one long one the mix is left out, and, where it `gives_way`, also if it would keep less than half of the traces.
    """
    long = pool.tokens > long_tokens
    part = Fraction(str(share))
    short_ones, long_ones = int((~long).sum()), int(long.sum())
    allowed = int(short_ones * part / (1 - part))
    if long_ones <= allowed:
        return np.zeros(len(long), np.bool_)
    if not allowed or (gives_way and 2 * (short_ones + allowed) < short_ones + long_ones):
        say(
            f"The mix of short and long traces is left out: {short_ones:,} of {short_ones + long_ones:,} have at most "
            f"{long_tokens:,} tokens, which are too few for long ones to be {share:.0%}"
        )
        return np.zeros(len(long), np.bool_)
    places = np.flatnonzero(long)
    later = _accompanied(pool, long)[places]
    dropped = np.zeros(len(long), np.bool_)
    dropped[places[np.argsort(later, kind="stable")[allowed:]]] = True
    return dropped


def over_share(pool: Pool, share: float, say: Say) -> Flags:
    """Which traces are too many for no source to have more than `share` of what is kept.

    Every source keeps as many as it has, up to one bound for all, which is as high as it can be. Of a source with
    more, the first of every problem are kept, then the second, and so on; of these by the ids of the problems, which
    are hashes of the prompts, so as if drawn. Where the shares cannot be kept (too few sources), nothing is dropped.
    """
    counts = np.bincount(pool.source)
    sources = int((counts > 0).sum())
    part = Fraction(str(share))
    none = np.zeros(len(pool.at), np.bool_)
    if sources * part < 1:
        if sources:
            of = "one source" if sources == 1 else f"{sources} sources"
            say(f"source_share is left out: the traces are of {of}, so that one always has more than {share:.0%}")
        return none
    low, high = 1, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle <= part * int(np.minimum(counts, middle).sum())
        low, high = (middle, high) if fits else (low, middle - 1)
    order = np.lexsort((pool.problem, pool.turn, pool.source))
    none[order] = _numbered(pool.source[order]) >= low
    return none


def over_budget(pool: Pool, max_total_tokens: int) -> Flags:
    """Which traces do not fit into so many tokens in all.

    The first of every problem are taken, then the second, and so on; among these one of each source in turn, by the
    ids of the problems, which are hashes of the prompts, so as if drawn. What does not fit any more is passed over.
    """
    by_source = np.lexsort((pool.problem, pool.source, pool.turn))
    within = np.empty(len(pool.at), np.int64)
    within[by_source] = _numbered(pool.turn[by_source] * (pool.source.max(initial=0) + 1) + pool.source[by_source])
    order = np.lexsort((pool.source, within, pool.turn))
    dropped = np.zeros(len(pool.at), np.bool_)
    left = max_total_tokens
    for at, tokens in zip(order.tolist(), pool.tokens[order].tolist(), strict=True):
        if tokens <= left:
            left -= tokens
        else:
            dropped[at] = True
    return dropped


def _pool(candidates: Candidates, section: Select) -> Pool:
    alive = np.flatnonzero(candidates.left)
    tokens, ranks = candidates.tokens[alive], candidates.ranks()[alive]
    alive = alive[np.lexsort((ranks, tokens))]
    problems = candidates.problems
    problem = candidates.problem[alive]
    bounded = (section.per_problem, section.source_share, section.max_total_tokens) != (None, None, None)
    diverse = bounded and section.prefer == "diverse"
    return Pool(
        at=alive,
        problem=_in_order(problems.ids)[problem],
        source=_in_order(problems.sources)[problems.source[problem]],
        tokens=candidates.tokens[alive],
        turn=turns(problem, alive, candidates.sketches if diverse else None, section.per_problem or _MOST_DIVERSE),
    )


def _in_order(names: list[str]) -> Places:
    """Each name's place in the order of the names."""
    places = np.empty(len(names), np.int64)
    places[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return places


def _numbered(groups: Places) -> Places:
    """For numbers of groups that stand together, how many of the same group stand before each."""
    starts = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]])[: len(groups)])
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))


def _diverse(sketches: Sketches, most: int) -> list[int]:
    """The rows of sketches, the least similar first, from row 0 on."""
    chosen = [0]
    closest = (sketches == sketches[0]).mean(axis=1)
    while len(chosen) < min(most, len(sketches)):
        closest[chosen[-1]] = np.inf
        chosen.append(int(np.argmin(closest)))
        closest = np.maximum(closest, (sketches == sketches[chosen[-1]]).mean(axis=1))
    return [*chosen, *sorted(set(range(len(sketches))).difference(chosen))]


def _accompanied(pool: Pool, long: Flags) -> Flags:
    """Which long traces have a short one of their problem, or a long one before them."""
    with_short = np.zeros(int(pool.problem.max(initial=-1)) + 1, np.bool_)
    with_short[pool.problem[~long]] = True
    places = np.flatnonzero(long)
    accompanied = np.ones(len(long), np.bool_)
    accompanied[places[np.unique(pool.problem[places], return_index=True)[1]]] = False
    return accompanied | with_short[pool.problem]


def _off_difficulty(candidates: Candidates, pool: Pool, window: tuple[float, float]) -> Flags:
    problems = candidates.problems
    return outside(problems.right, problems.attempts, window)[candidates.problem[pool.at]]


def _drops(candidates: Candidates, pool: Pool, dropped: Flags, reason: str, tell: Tell) -> Iterator[Drop]:
    places = np.flatnonzero(dropped)
    candidates.drop(pool.at[places])
    return (Drop(int(pool.at[place]), reason, tell(pool, int(place))) for place in places)


def _tried(candidates: Candidates, window: tuple[float, float]) -> Tell:
    right, attempts, problem = candidates.problems.right, candidates.problems.attempts, candidates.problem

    def tell(pool: Pool, place: int) -> str:
        one = problem[pool.at[place]]
        easy = right[one] / attempts[one] > window[1]
        bound = f"more than {window[1]:.0%}" if easy else f"less than {window[0]:.0%}"
        return f"{right[one]} of {attempts[one]} attempts at its problem were right, which is {bound}"

    return tell


def _enough(section: Select) -> Tell:
    more = "are less similar to each other" if section.prefer == "diverse" else "are no longer"
    one = "was taken first, being the shortest" if section.prefer == "diverse" else "is no longer"
    if section.per_problem == 1:
        return lambda pool, place: f"the problem has a trace already, which {one}"
    return lambda pool, place: f"the problem has {section.per_problem} traces already, which {more}"


def _mixed(section: Select) -> Tell:
    bound = f"at most {section.long_share:.0%} of the traces may have more than {section.long_tokens:,}"
    return lambda pool, place: f"it has {pool.tokens[place]:,} tokens, and {bound}"


def _balanced(candidates: Candidates, section: Select) -> Tell:
    names = sorted(candidates.problems.sources)
    return lambda pool, place: (
        f"its source, {names[pool.source[place]]}, has the {section.source_share:.0%} of the traces that one may have"
    )


def _spent(max_total_tokens: int) -> Tell:
    return lambda pool, place: (
        f"its {pool.tokens[place]:,} tokens do not fit into what is left of {max_total_tokens:,} in all"
    )
