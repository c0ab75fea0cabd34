"""Duplicates: exact and near ones, which one stays, and what is no duplicate."""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill import procedural, think
from distill.curate.candidates import Candidates, Drop
from distill.curate.dedupe import exact, near
from distill.curate.neighbours import Neighbours, band_width
from distill.curate.signatures import features, similarity, sketch, with_tokens
from distill.curate_sections import Duplicates
from distill.records import REASONS, Completion, Problem, Sampling, Trace

HENS = (
    "A farmer has seven red hens and sells three of them on Monday at the market in the old town. On Tuesday he buys "
    "12 white ones from his neighbour, who keeps twice as many as he does. How many hens does the farmer have now?"
)
LATEX = (
    "Let $f(x) = \\frac{3x-2}{x+1}$ for all real numbers $x \\neq -1$. Find the value of $f(f(2))$ and express the "
    "answer as a common fraction in lowest terms."
)


def trace(reasoning: str, prompt: str = "2 + 2 = ?", **more: Any) -> Trace:
    problem = more.get("problem") or Problem.of(prompt, more.get("gold", "4"), "math", more.get("source", "test"))
    completion = Completion(reasoning, more.get("answer", "\\boxed{4}"), "stop", 5, None, "r1")
    seed = more.get("seed", 0)
    return Trace(f"{problem.id}#{seed}", problem, completion, "r1", seed, Sampling(), None, "", 0.0)


def gathered(traces: Sequence[Trace]) -> Candidates:
    """Candidates of these traces, as long as they have words."""
    candidates = Candidates()
    for one, found in zip(traces, features(traces), strict=True):
        candidates.add(with_tokens(found, len(one.completion.reasoning.split())))
    return candidates


def dropped(traces: Sequence[Trace], **section: Any) -> dict[str, Drop]:
    """What `near` drops, by the trace's id."""
    candidates = gathered(traces)
    drops = list(near(candidates, Duplicates(**section)))
    assert [at for at, left in enumerate(candidates.left) if not left] == sorted(drop.at for drop in drops)
    assert all(drop.reason in REASONS and drop.detail and drop.beside for drop in drops)
    return {candidates.ids[drop.at]: drop for drop in drops}


def one_each(prompts: Iterable[str], gold: str = "4") -> list[Trace]:
    """A trace of each prompt, none like the other."""
    return [trace(prose(at, 60), prompt, gold=gold) for at, prompt in enumerate(prompts)]


def prose(seed: int, words: int) -> str:
    chosen = random.Random(seed)
    return " ".join(f"w{chosen.randrange(5000):04d}x" for _ in range(words))


# Exact duplicates


def test_the_same_text_of_the_same_problem_is_a_duplicate_and_the_first_id_stays() -> None:
    same = [trace("Two and\n two.", seed=2), trace(" two AND two. ", seed=1), trace("Two and two.", seed=3)]
    other = [
        trace("Two and two.", "3 + 1 = ?"),
        trace("Two and three.", seed=4),
        trace("Two and two.", seed=5, answer="4"),
    ]
    candidates = gathered([*same, *other])
    found = {candidates.ids[drop.at]: drop for drop in exact(candidates)}
    assert set(found) == {same[0].id, same[2].id}
    assert {(drop.reason, drop.detail) for drop in found.values()} == {("duplicate", f"the same as {same[1].id}")}
    assert candidates.left.tolist() == [False, True, False, True, True, True]


def test_the_same_trace_twice_is_a_duplicate_once() -> None:
    assert len(list(exact(gathered([trace("So."), trace("So.")])))) == 1
    assert list(exact(Candidates())) == [] == list(near(Candidates(), Duplicates()))


# Near problems


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (HENS, HENS.replace(",", "").replace("?", "")),
        (HENS, HENS.replace("A farmer", "The farmer")),
        (HENS, HENS.replace("seven", "7").replace("12", "twelve")),
        (HENS, f"Please solve: {HENS}"),
        (HENS, f"Solve the following problem step by step.\n\n{HENS}"),
        (HENS, HENS.upper()),
        (HENS, HENS.replace("sells", "gives away")),
        (LATEX, LATEX.replace("=", " = ").replace("{3x-2}{x+1}", "{3x - 2}{x + 1}")),
        (
            LATEX,
            LATEX.replace("\\frac", "\\dfrac")
            .replace("f(x)", "f\\left(x\\right)")
            .replace("$", "\\(", 1)
            .replace("$", "\\)", 1),
        ),
        ("What is $2^{10}$?", "Please compute $2^{10}$."),
    ],
)
def test_near_problems_are_one_and_the_lower_id_stays(one: str, other: str) -> None:
    traces = sorted(one_each([one, other]), key=lambda trace: trace.id)
    found = dropped(traces)
    assert list(found) == [traces[1].id] and found[traces[1].id].reason == "near_duplicate"
    assert found[traces[1].id].detail == f"its problem is problem {traces[0].problem.id} in other words"
    assert not dropped(traces, near_problems=None)


@pytest.mark.parametrize(
    "other",
    [
        HENS.replace("12", "13"),
        HENS.replace("three", "two"),
        HENS.replace("seven", "three").replace("sells three", "sells seven"),
        HENS.replace("How many hens", "How many hens at least"),
        HENS.replace("twice as many as", "not as many as"),
    ],
)
def test_other_numbers_or_turning_words_are_another_problem(other: str) -> None:
    assert not dropped(one_each([HENS, other]))


def test_another_answer_is_another_problem() -> None:
    traces = one_each([HENS, f"Please solve: {HENS}"])
    traces[1] = replace(traces[1], problem=replace(traces[1].problem, answer="5"))
    assert not dropped(traces)


def test_what_is_near_a_near_one_belongs_to_them() -> None:
    words = HENS.split()
    steps = [
        " ".join(["word" if at in changed else word for at, word in enumerate(words)]) for changed in ([], [6], [6, 31])
    ]
    apart = similarity(sketch(steps[0]), sketch(steps[2]))
    bound = apart + 0.02
    assert similarity(sketch(steps[0]), sketch(steps[1])) > bound < similarity(sketch(steps[1]), sketch(steps[2]))
    assert len(dropped(one_each(steps), near_problems=bound)) == 2
    assert not dropped(one_each([steps[0], steps[2]]), near_problems=bound)


def test_the_problem_with_the_most_traces_stays() -> None:
    prompts = [HENS, f"Please solve: {HENS}"]
    low, high = sorted((Problem.of(prompt, "4", "math", "test") for prompt in prompts), key=lambda problem: problem.id)
    traces = [trace(prose(at, 50), problem=problem, seed=at) for at, problem in enumerate([low, high, high])]
    assert set(dropped(traces)) == {traces[0].id}
    assert set(dropped([*traces, trace(prose(9, 50), problem=low, seed=9)])) == {traces[1].id, traces[2].id}


def test_problems_of_a_template_must_have_the_same_words() -> None:
    text = (
        "Are these two strings isomorphic, that is, can the letters of one be replaced to get the other, every letter "
        "by the same one wherever it stands? Say yes or no. The strings are {} and {}."
    )
    chosen = random.Random(3)
    names = ["".join(chosen.choices("bcdfghjklm", k=6)) for _ in range(80)]
    prompts = [text.format(one, other) for one, other in zip(names[::2], names[1::2], strict=True)]
    traces = [trace(prose(at, 50), prompt, gold="yes" if at % 2 else "no") for at, prompt in enumerate(prompts)]
    again = trace(prose(99, 50), f"Please answer: {prompts[0].replace('two strings', 'the two strings')}", gold="no")
    assert len(dropped([*traces, again])) == 1 and not dropped(traces)


def test_procedural_families_are_not_taken_for_duplicates() -> None:
    families = (
        "basic_arithmetic aiw knights_knaves leg_counting syllogism isomorphic_strings maze coin_flip simple_equations"
    )
    problems = {
        one.id: one
        for family in [*families.split(), "propositional_logic"]
        for one in procedural.generate(family, 200, 7, {})
    }
    assert len(problems) > 1900
    found = dropped([trace(prose(at, 60), problem=one) for at, one in enumerate(problems.values())])
    assert len(found) <= 1, [
        (problems[name.split("#")[0]].prompt, problems[drop.beside].prompt) for name, drop in found.items()
    ]


def test_planted_near_problems_are_found_and_benchmark_problems_are_not(shared_data: Path) -> None:
    lines = (shared_data / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    problems = [Problem.of(row["question"], row["answer"].split("####")[1].strip(), "math", "gsm8k") for row in rows]
    edits: list[Callable[[str], str]] = [
        lambda text: text.replace(",", "").rstrip("?."),
        lambda text: re.sub(r"\b(a|the)\b", lambda found: {"a": "the", "the": "a"}[found[0]], text, count=2),
        lambda text: f"Please solve: {text}",
        lambda text: text.lower(),
        lambda text: text.replace(" 3 ", " three ").replace(" 5 ", " five ").replace(" 10 ", " ten "),
    ]
    planted = [replace(one, id=f"{one.id}+", prompt=edits[at % 5](one.prompt)) for at, one in enumerate(problems[:500])]
    alone = [trace(prose(at, 50), problem=one) for at, one in enumerate(problems)]
    assert not dropped(alone)
    more = [trace(prose(10_000 + at, 50), problem=one) for at, one in enumerate(planted)]
    assert len(dropped([*alone, *more])) >= 0.99 * len(planted)


# Near reasoning


def test_near_reasoning_of_a_problem_is_dropped_from_the_shortest_on() -> None:
    words = prose(1, 200).split()
    long, short, other = [*words, "so", "four"], words, prose(2, 150).split()
    changed = [*words[:100], "hm", *words[101:], "well"]
    traces = [trace(" ".join(said), seed=at) for at, said in enumerate((long, changed, short, other))]
    found = dropped(traces)
    assert set(found) == {traces[0].id, traces[1].id}
    assert found[traces[0].id].beside == traces[2].id
    assert re.fullmatch(
        rf"its reasoning is \d+% the same as that of {traces[2].id}, which is no longer", found[traces[0].id].detail
    )
    assert not dropped(traces, near_reasoning=None)


def test_of_equally_long_near_traces_the_lower_id_stays() -> None:
    words = prose(1, 200).split()
    traces = [trace(" ".join([*words[:at], "hm", *words[at + 1 :]]), seed=at) for at in (5, 3, 4)]
    assert set(dropped(traces)) == {traces[0].id, traces[2].id}


@pytest.mark.parametrize(
    ("said", "gold", "found"),
    [
        ("", "4", True),
        ("", "5", False),  # another answer
        (" and 7", "4", False),  # another number
        (" and so on", "4", True),
    ],
)
def test_across_problems_numbers_and_answers_must_be_the_same(said: str, gold: str, found: bool) -> None:
    text = f"{prose(1, 200)} 3 12"
    traces = [trace(text, HENS), trace(text + said, LATEX, gold=gold)]
    got = dropped(traces)
    assert bool(got) is found
    if said and found:
        assert list(got) == [traces[1].id] and "of another problem" in got[traces[1].id].detail


def test_what_stays_is_pairwise_different_and_each_dropped_one_is_near_one_that_stays() -> None:
    chosen = random.Random(5)
    seeds = [prose(at, 120).split() for at in range(12)]
    traces = []
    for at in range(150):  # more than are compared all with all
        words = list(chosen.choice(seeds))
        for _ in range(chosen.randrange(0, 30)):
            words[chosen.randrange(len(words))] = f"v{chosen.randrange(999)}"
        traces.append(trace(" ".join(words[: chosen.randrange(90, 121)]), seed=at))
    candidates = gathered(traces)
    drops = list(near(candidates, Duplicates()))
    signed = {name: sketch(one.completion.reasoning) for name, one in zip(candidates.ids, traces, strict=True)}
    stay = [name for name, left in zip(candidates.ids, candidates.left, strict=True) if left]
    assert 12 < len(stay) < 140
    near_pairs = [
        (one, other)
        for at, one in enumerate(stay)
        for other in stay[at + 1 :]
        if similarity(signed[one], signed[other]) >= 0.8
    ]
    assert not near_pairs
    for drop in drops:
        assert drop.beside in stay and similarity(signed[candidates.ids[drop.at]], signed[drop.beside]) >= 0.8


def test_attempts_are_different_and_edited_ones_are_not(shared_data: Path) -> None:
    folder, chosen = shared_data / "r1_mip_gsm8k_math", random.Random(0)
    r1, dsq = (
        json.loads((folder / f"gsm8k_normal_{name}.json").read_text(encoding="utf-8")) for name in ("deepseekR1", "DSQ")
    )
    said = {row["question"]: think.split(row["deepseek-reasoner (question)"]).reasoning for row in r1}
    by_student = {row["question"]: think.split(row["model_answer"]).reasoning for row in dsq}
    questions = [one for one in said if said[one] and by_student.get(one)][:300]
    assert len(questions) == 300
    attempts = [trace(texts[one], one, seed=at) for at, texts in enumerate((said, by_student)) for one in questions]
    assert not dropped(attempts, near_problems=None)
    edited = []
    for at, question in enumerate(questions):
        sentences = re.split(r"(?<=[.?!\n])\s+", said[question])
        picked = chosen.sample(range(len(sentences)), max(2, len(sentences) // 10))
        if at % 2:
            sentences = [one for place, one in enumerate(sentences) if place not in picked]
        else:
            for place, one in zip(picked, [sentences[other] for other in picked[1:] + picked[:1]], strict=True):
                sentences[place] = one
        edited.append(trace(" ".join(sentences), question, seed=2))
    assert len(dropped([*attempts, *edited], near_problems=None)) >= 0.98 * len(edited)


def test_the_order_of_arrival_plays_no_part() -> None:
    chosen = random.Random(2)
    prompts = [HENS, f"Please solve: {HENS}", LATEX, LATEX.replace("for all", "for any"), "Is it so?"]
    traces = []
    for at in range(60):
        words = prose(at % 7, 100).split()
        words[chosen.randrange(100)] = "hm"
        traces.append(trace(" ".join(words), chosen.choice(prompts), seed=at))
    traces += [replace(traces[at], id=f"{traces[at].problem.id}#{at + 100}") for at in range(0, 60, 6)]
    told = set()
    for _ in range(4):
        chosen.shuffle(traces)
        candidates = gathered(traces)
        drops = [*exact(candidates), *near(candidates, Duplicates())]
        assert len({drop.at for drop in drops}) == len(drops)
        told.add(tuple(sorted((candidates.ids[drop.at], drop.reason, drop.detail) for drop in drops)))
    assert len(told) == 1 and len(next(iter(told))) > 20


# Finding pairs


def neighbours(rows: np.ndarray, threshold: float) -> Neighbours:
    places = np.arange(len(rows))
    return Neighbours(rows, places, np.zeros(len(rows), np.int64), threshold)


def test_among_many_nearly_all_pairs_are_found() -> None:
    chosen = np.random.default_rng(0)
    base = chosen.integers(0, 2**32, (60, 128), dtype=np.uint32)
    rows = np.concatenate(
        [np.where(chosen.random((60, 128)) < 0.9, base, chosen.integers(0, 2**32, (60, 128))), base]
    ).astype(np.uint32)
    found = neighbours(rows, 0.8)
    pairs = sum(len(found.take(at, np.arange(120) < 60)[0]) for at in range(60))
    true = sum(((rows[at] == rows[60:]).mean(axis=1) >= 0.8).sum() for at in range(60))
    assert true > 55 and pairs >= 0.98 * true


def test_ten_thousand_of_the_same_signature_are_found_at_once() -> None:
    rows = np.tile(np.random.default_rng(0).integers(0, 2**32, 128, dtype=np.uint32), (10_000, 1))
    taken = np.zeros(10_000, np.bool_)
    taken[0] = True
    assert len(neighbours(rows, 0.8).take(0, taken)[0]) == 9_999 and taken.all()


def test_bands_are_as_wide_as_the_threshold_lets_them() -> None:
    assert [band_width(threshold, 128) for threshold in (1.0, 0.8, 0.5, 0.01)] == [128, 6, 3, 1]


def test_problems_without_candidates_are_counted_too() -> None:
    candidates = Candidates()
    candidates.tried("p", right=False)
    candidates.add(features([trace("So.", "q")])[0])
    candidates.tried("p", right=True)
    problems = candidates.problems
    assert (problems.ids[0], problems.attempts.tolist(), problems.right.tolist()) == ("p", [2, 0], [1, 0])
    assert problems.source.tolist() == [-1, 0] and not list(near(candidates, Duplicates()))
