"""Selection: every step on a case whose outcome was worked out by hand, the settings by the student's size, and all
steps together."""

import random
from typing import Any

import numpy as np
import pytest

from distill.curate.candidates import Candidates
from distill.curate.select import SMALL, Pool, long_ones_over, outside, over_budget, over_share, resolved, select, turns
from distill.curate.signatures import PERMUTATIONS, Features
from distill.curate_sections import Select
from distill.records import REASONS


def silent(text: str) -> None:
    raise AssertionError(text)


def pool(*traces: tuple[int, int, int]) -> Pool:
    """A pool of (problem, source, tokens), which are sorted here as pools are."""
    ordered = sorted(traces, key=lambda trace: trace[2])
    problem, source, tokens = (np.array([trace[at] for trace in ordered], np.int64) for at in range(3))
    at = np.arange(len(ordered))
    return Pool(at, problem, source, tokens, turns(problem, at, None, 1))


def told(given: Pool, dropped: Any) -> list[tuple[int, int, int]]:
    """(problem, source, tokens) of what is dropped."""
    rows = zip(given.problem.tolist(), given.source.tolist(), given.tokens.tolist(), strict=True)
    return sorted(row for row, gone in zip(rows, dropped, strict=True) if gone)


def shared(rows: list[list[int]]) -> Any:
    """Sketches with these values repeated to their length: rows that agree in k of n values are k/n similar."""
    return np.array(rows, np.uint32).repeat(PERMUTATIONS // len(rows[0]), axis=1)


def gathered(
    *traces: tuple[str, str, int], source: dict[str, str] | None = None, tried: dict[str, Any] | None = None
) -> Candidates:
    """Candidates of (trace id, problem id, tokens), with sources and (right, attempts) by problem."""
    candidates = Candidates()
    for at, (name, problem, tokens) in enumerate(traces):
        from_ = (source or {}).get(problem, "test")
        sketch = np.random.default_rng(at).integers(0, 2**32, PERMUTATIONS, dtype=np.uint32).tobytes()
        candidates.add(
            Features(name, problem, from_, name.ljust(16).encode()[:16], sketch, at, sketch, at, at, at, tokens)
        )
    for problem, (right, attempts) in (tried or {}).items():
        for at in range(attempts):
            candidates.tried(problem, right=at < right)
    return candidates


def drops(candidates: Candidates, said: list[str] | None = None, **section: Any) -> dict[str, tuple[str, str]]:
    """Reason and sentence by the id of what is dropped."""
    say = silent if said is None else said.append
    found = list(select(candidates, Select(**section), say))
    assert all(drop.reason in REASONS and drop.detail and not candidates.left[drop.at] for drop in found)
    assert len({drop.at for drop in found}) == len(found) == (~candidates.left).sum()
    return {candidates.ids[drop.at]: (drop.reason, drop.detail) for drop in found}


# The steps


def test_difficulty_is_the_share_of_right_attempts_bounds_included() -> None:
    right, attempts = np.array([0, 1, 5, 9, 10, 1, 0]), np.array([10, 10, 10, 10, 10, 1, 0])
    assert outside(right, attempts, (0.1, 0.9)).tolist() == [True, False, False, False, True, False, False]
    assert outside(right, attempts, (0.0, 1.0)).tolist() == [False] * 7


def test_turns_go_from_the_shortest_on() -> None:
    problem = np.array([4, 2, 4, 4, 2])
    assert turns(problem, np.arange(5), None, 9).tolist() == [0, 0, 1, 2, 1]


def test_diverse_turns_begin_with_the_shortest_and_go_on_with_the_least_similar() -> None:
    sketches = shared([[1, 1, 1, 1], [1, 1, 1, 9], [1, 1, 7, 8], [2, 3, 7, 8]])
    problem = np.zeros(4, np.int64)
    # From row 0: row 3 shares nothing with it. Then row 1 is 3/4 like row 0, row 2 is 1/2 like rows 0 and 3.
    assert turns(problem, np.arange(4), sketches, 4).tolist() == [0, 3, 2, 1]
    assert turns(problem, np.arange(4), sketches, 2).tolist() == [0, 2, 3, 1]
    assert turns(problem, np.array([3, 2, 1, 0]), sketches, 2).tolist() == [0, 2, 1, 3]
    assert turns(problem[:2], np.arange(2), sketches, 2).tolist() == [0, 1]


def test_of_the_long_ones_those_go_whose_problem_has_another_trace_and_the_longest_first() -> None:
    short = [(1, 0, 10), (2, 0, 20), (3, 0, 30), (4, 0, 40)]
    given = pool(*short, (1, 0, 5000), (5, 0, 7000), (5, 0, 6000), (6, 0, 9000))
    # Half may be long: four of four. Of four short ones and a share of 1/3, two: those of problems 5 and 6.
    assert told(given, long_ones_over(given, 4096, 0.5, False, silent)) == []
    third = long_ones_over(given, 4096, 0.34, False, silent)
    assert told(given, third) == [(1, 0, 5000), (5, 0, 7000)]
    fifth = long_ones_over(given, 4096, 0.2, False, silent)
    assert told(given, fifth) == [(1, 0, 5000), (5, 0, 7000), (6, 0, 9000)]


def test_a_share_is_exact() -> None:
    given = pool(*((at, 0, 10) for at in range(40)), *((100 + at, 0, 5000) for at in range(12)))
    assert len(told(given, long_ones_over(given, 4096, 0.2, False, silent))) == 2  # 40 and 10: a fifth


def test_with_too_few_short_ones_the_mix_is_left_out_and_said() -> None:
    said: list[str] = []
    given = pool((1, 0, 10), (2, 0, 10), *((3 + at, 0, 5000) for at in range(8)))
    assert not long_ones_over(given, 4096, 0.2, False, said.append).any()
    assert said == [
        "The mix of short and long traces is left out: 2 of 10 have at most 4,096 tokens, which are too few for long "
        "ones to be 20%"
    ]
    assert not long_ones_over(pool((1, 0, 5000)), 4096, 0.9, False, said.append).any() and len(said) == 2


def test_a_mix_that_nobody_asked_for_gives_way_where_it_would_cost_more_than_half() -> None:
    said: list[str] = []
    given = pool(*((at, 0, 10) for at in range(4)), *((10 + at, 0, 5000) for at in range(7)))
    assert len(told(given, long_ones_over(given, 4096, 0.2, False, silent))) == 6
    assert not long_ones_over(given, 4096, 0.2, True, said.append).any() and len(said) == 1
    half = pool(*((at, 0, 10) for at in range(4)), *((10 + at, 0, 5000) for at in range(6)))
    assert len(told(half, long_ones_over(half, 4096, 0.2, True, silent))) == 5


def test_no_source_has_more_than_its_share() -> None:
    # 8, 3 and 1: with a bound of 4 they are 4, 3 and 1, of which 4 are half. With 5 it would be 5 of 9.
    sources = [0] * 8 + [1] * 3 + [2]
    given = pool(*((at, source, at) for at, source in enumerate(sources)))
    assert told(given, over_share(given, 0.5, silent)) == [(4, 0, 4), (5, 0, 5), (6, 0, 6), (7, 0, 7)]
    assert told(given, over_share(given, 0.7, silent)) == []
    third = over_share(pool((0, 0, 1), (1, 0, 2), (2, 1, 1), (3, 1, 2), (4, 2, 1)), 0.34, silent)
    assert third.sum() == 2  # 1, 1 and 1


def test_of_a_source_with_too_many_the_first_of_every_problem_stay() -> None:
    given = pool((1, 0, 10), (1, 0, 20), (1, 0, 30), (2, 0, 900), (3, 1, 10), (4, 1, 10))
    assert told(given, over_share(given, 0.5, silent)) == [(1, 0, 20), (1, 0, 30)]


@pytest.mark.parametrize(
    ("sources", "share", "words"),
    [([0, 0], 0.5, "one source"), ([0, 1], 0.4, "2 sources"), ([0, 1, 2], 0.33, "3 sources")],
)
def test_a_share_that_cannot_be_kept_is_left_out_and_said(sources: list[int], share: float, words: str) -> None:
    said: list[str] = []
    given = pool(*((at, source, 10) for at, source in enumerate(sources)))
    assert not over_share(given, share, said.append).any()
    assert len(said) == 1 and words in said[0]
    assert not over_share(pool(), 0.5, silent).any()


def test_the_budget_takes_the_first_of_every_problem_and_the_sources_in_turn() -> None:
    given = pool((1, 0, 10), (1, 0, 11), (2, 0, 10), (3, 0, 10), (4, 1, 10), (4, 1, 12))
    # In turn: problem 1 (source 0), 4 (source 1), 2, 3; then the second ones: 1, 4.
    taken = [{(1, 0, 10)}, {(4, 1, 10)}, {(2, 0, 10)}, {(3, 0, 10)}, {(1, 0, 11)}, {(4, 1, 12)}]
    everything = set().union(*taken)
    for budget, count in ((9, 0), (10, 1), (20, 2), (30, 3), (40, 4), (51, 5), (63, 6)):
        left = everything - set(told(given, over_budget(given, budget)))
        assert left == set().union(*taken[:count]), budget


def test_what_does_not_fit_into_the_budget_is_passed_over() -> None:
    given = pool((1, 0, 60), (2, 0, 60), (3, 0, 30))
    assert told(given, over_budget(given, 95)) == [(2, 0, 60)]
    assert not over_budget(pool(), 5).any()


def test_turns_are_counted_anew_when_some_are_dropped() -> None:
    given = pool((1, 0, 10), (1, 0, 20), (1, 0, 30), (2, 0, 15))
    left = given.without(np.array([True, False, False, False]))
    assert (left.tokens.tolist(), left.turn.tolist()) == ([15, 20, 30], [0, 0, 1])


# All steps


def test_nothing_is_selected_where_nothing_is_asked_for() -> None:
    assert drops(gathered(("a#0", "a", 10), ("a#1", "a", 90_000), ("b#0", "b", 10))) == {}
    assert (
        drops(Candidates(), per_problem=1, long_share=0.2, source_share=0.5, max_total_tokens=5, pass_rate=(0, 1)) == {}
    )


def test_each_step_says_what_happened() -> None:
    tried = {"easy": (4, 4), "hard": (1, 20), "fair": (2, 4), "once": (1, 1)}
    traces = [("easy#0", "easy", 5), ("hard#0", "hard", 5), ("once#0", "once", 5)]
    assert drops(
        gathered(*traces, *((f"fair#{at}", "fair", 5) for at in range(2)), tried=tried), pass_rate=(0.1, 0.9)
    ) == {
        "easy#0": ("off_difficulty", "4 of 4 attempts at its problem were right, which is more than 90%"),
        "hard#0": ("off_difficulty", "1 of 20 attempts at its problem were right, which is less than 10%"),
    }
    several = [(f"a#{at}", "a", 30 - at) for at in range(4)] + [("b#0", "b", 99)]
    two = ("enough_for_problem", "the problem has 2 traces already, which are no longer")
    assert drops(gathered(*several), per_problem=2) == {"a#0": two, "a#1": two}
    assert (
        drops(gathered(*several[:2]), per_problem=1)["a#0"][1] == "the problem has a trace already, which is no longer"
    )
    diverse = drops(gathered(*several[:2]), per_problem=1, prefer="diverse")
    assert diverse == {
        "a#0": ("enough_for_problem", "the problem has a trace already, which was taken first, being the shortest")
    }
    long = gathered(*((f"{at}#0", str(at), 10) for at in range(3)), ("l#0", "l", 70), ("m#0", "m", 1060))
    assert drops(long, long_share=0.25, long_tokens=50) == {
        "m#0": ("off_mix", "it has 1,060 tokens, and at most 25% of the traces may have more than 50")
    }
    sources = gathered(*((f"{at}#0", str(at), 10) for at in range(3)), source={"0": "mine"})
    assert drops(sources, source_share=0.5) == {
        "2#0": ("off_balance", "its source, test, has the 50% of the traces that one may have")
    }
    assert drops(gathered(("a#0", "a", 900), ("b#0", "b", 1200)), max_total_tokens=1000) == {
        "b#0": ("over_budget", "its 1,200 tokens do not fit into what is left of 1,000 in all")
    }


def test_a_step_looks_at_what_the_one_before_it_left() -> None:
    traces = [("a#0", "a", 10), ("a#1", "a", 11), ("b#0", "b", 5000), ("c#0", "c", 5000), ("d#0", "d", 9)]
    candidates = gathered(*traces, tried={"d": (9, 9)})
    found = drops(candidates, [], pass_rate=(0, 0.9), per_problem=1, long_share=0.5, max_total_tokens=4000)
    # d is too easy, a has one left, so that one of b and c may be long; the budget holds neither.
    assert {name: reason for name, (reason, _) in found.items()} == {
        "d#0": "off_difficulty",
        "a#1": "enough_for_problem",
        "c#0": "off_mix",
        "b#0": "over_budget",
    }


def test_what_was_dropped_before_plays_no_part() -> None:
    candidates = gathered(("a#0", "a", 10), ("a#1", "a", 11), ("a#2", "a", 12))
    candidates.drop(np.array([0]))
    found = [candidates.ids[drop.at] for drop in select(candidates, Select(per_problem=1))]
    assert found == ["a#2"]


def test_ties_are_decided_by_ids_and_the_order_of_arrival_plays_no_part() -> None:
    chosen = random.Random(0)
    traces = [(f"{chosen.randrange(40)}#{at}", "", chosen.choice((10, 20, 5000))) for at in range(200)]
    traces = [(name, name.split("#")[0], tokens) for name, _, tokens in traces]
    source = {str(at): chosen.choice(("x", "x", "y")) for at in range(40)}
    found = set()
    for _ in range(3):
        chosen.shuffle(traces)
        candidates = gathered(*traces, source=source)
        section = {"per_problem": 3, "long_share": 0.1, "source_share": 0.6, "max_total_tokens": 20_000}
        found.add(tuple(sorted((name, *why) for name, why in drops(candidates, **section).items())))
    assert len(found) == 1
    assert {reason for _, reason, _ in next(iter(found))} == {
        "enough_for_problem",
        "off_mix",
        "off_balance",
        "over_budget",
    }


# By the student's size


def test_settings_follow_from_the_students_size() -> None:
    small, large, unknown = (resolved(Select(), size) for size in (SMALL, SMALL + 1, None))
    assert (small.prefer, small.long_share) == ("shorter", 0.2)
    assert (large.prefer, large.long_share) == ("diverse", None)
    assert unknown == Select()
    for one in (small, large):
        assert (one.per_problem, one.pass_rate, one.max_total_tokens, one.source_share) == (None,) * 4
        assert one.long_tokens == 4096


def test_what_was_stated_stays() -> None:
    stated = Select(prefer="diverse", long_share=1, per_problem=3, long_tokens=100, pass_rate=(0.2, 0.8))
    assert resolved(stated, 10**9) == stated == resolved(stated, None)
    assert resolved(Select(long_share=None), 10**9).long_share == 0.2


def test_a_small_student_loses_no_short_traces_and_a_stated_share_is_kept() -> None:
    traces = [(f"{at}#0", str(at), 60) for at in range(50)]
    assert not list(select(gathered(*traces), resolved(Select(), 800_000), silent))
    mostly_long = [*traces[:10], *((f"{at}#0", str(at), 5000) for at in range(50, 90))]
    said: list[str] = []
    assert not list(select(gathered(*mostly_long), resolved(Select(), 800_000), said.append)) and len(said) == 1
    stated = resolved(Select(long_share=0.2), 800_000)
    assert len(list(select(gathered(*mostly_long), stated, silent))) == 38
