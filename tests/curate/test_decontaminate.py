"""What is in the gate is found in traces: whole, by words in a row, reworded; and what only looks like it is not."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from distill import procedural
from distill.curate.decontaminate import Index
from distill.curate.normal import normal_text, normal_words, numbers
from distill.curate_sections import Decontaminate

SECTION = Decontaminate()
GATE = ["What is two plus two?", "A farmer has seven red hens and sells three of them on Monday; how many are left?"]
EGGS = (
    "Janet's ducks lay 16 eggs per day. She eats three for breakfast every morning and bakes muffins for her friends "
    "with four. She sells the remainder at the market daily for $2 per fresh duck egg. How much does she make?"
)
OTHERS = (
    "The baker's ovens hold 24 loaves an hour, and he sells each of them for $5. How much does he make in 3 hours?",
    "Every morning her friends walk 2 miles to the market. How many miles do they walk in 30 days?",
    "A train leaves with 80 passengers and loses 15 of them at each stop. How many are left after 4 stops?",
    "He bakes 60 muffins per day and eats 6 of them for breakfast; how many are there for his friends?",
)


def questions(shared_data: Path, name: str) -> list[str]:
    lines = (shared_data / "gsm8k" / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


def math_problems(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines())
    return [row.get("problem") or row["question"] for row in rows]


def eggs() -> Index:
    return Index({"eggs": [*OTHERS, EGGS]}, SECTION)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Twenty-five apples", "25 APPLES"),
        ("two dozen eggs", "2 dozen eggs"),
        ("one hundred and five men, two thousand and sixteen", "105 men 2016"),
        ("2.5 million, three hundred thousand", "2500000 300000"),
        ("It cost $80,000.00 or 5%", "it cost 80{,}000 dollars or 5 percent"),
        ("$\\dfrac{1}{2}$, $\\frac12$ and $\\left(x\\right)$", "1/2, 1/2 and (x)"),
        ("x² ≤ 3 × 4", "$x^{2} \\leq 3 \\cdot 4$"),
        ("**Find** the *area*:\n* 45°", "find the area 45 degrees"),
        ("a well-known cross-country run", "a well known cross country run"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ é", "full width e\u0301"),
    ],
)
def test_what_only_looks_different_is_the_same(one: str, other: str) -> None:
    assert normal_text(one) == normal_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9 + 3 - 7", "9 - 3 + 7"),
        ("9 - (3 + 7)", "9 - 3 + 7"),
        ("(9 - 3) * 7", "9 - 3 * 7"),
        ("2(x + 3)", "2x + 3"),
        ("x^2", "2x"),
        ("x < 3", "x > 3"),
        ("-3", "3"),
        ("1.5", "15"),
        ("0, 3", "0.3"),
        ("two", "three"),
    ],
)
def test_what_changes_a_problem_is_kept(one: str, other: str) -> None:
    assert normal_text(one) != normal_text(other)


def test_numbers_are_read_whatever_acts_on_them() -> None:
    assert numbers(normal_words("Twenty - 3 is x = 1,700.50, not .5 of v2")) == ["20", "3", "1700.5", "0.5", "2"]
    assert normal_words(" \n") == [] and numbers([]) == []


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("what is  TWO plus two", True),  # shorter than an n-gram: whole
        ("What is two plus two, and what is that times nine?", False),  # five words are too few to be looked for
        ("Say: a farmer has seven red hens and sells three of them on Monday; why?", True),
        ("A farmer has seven red hens and sells two of them.", False),
        ("What is two plus three?", False),
    ],
)
def test_contamination(prompt: str, found: bool) -> None:
    match = Index({"gate": GATE}, SECTION).find(prompt)
    assert (match is not None) is found
    assert (match is not None and match.task == "gate" and match.theirs in GATE and match.score == 1.0) is found


def test_a_short_prompt_is_found_inside_a_longer_one_from_six_words_on() -> None:
    index = Index({"gate": ["How many primes are below ninety?"]}, SECTION)
    assert index.find("Answer quickly. How many primes are below ninety? Explain.")
    assert not index.find("How many primes are below eighty?")


def test_what_stands_in_many_prompts_of_one_task_is_its_template() -> None:
    template = "On an island every person is either a knight who tells the truth or a knave who lies always"
    prompts = [f"{template}. {name} speaks." for name in "Ann Bob Cem Dora Eve Finn Gus Hal Ida Jo".split()]
    fresh = f"{template}. Zoe says nothing at all."
    assert Index({"knights": prompts[:9]}, SECTION).find(fresh)
    index = Index({"knights": prompts}, SECTION)
    assert index.find(fresh) is None
    assert index.find(f"Well: {prompts[4].upper()}")  # no n-gram but template: still found whole
    assert Index({"a": prompts[:5], "b": prompts[5:]}, SECTION).find(fresh)  # five in each task are no template


def test_a_template_with_other_names_in_it_is_a_template() -> None:
    names = "Ann Bob Cem Dora Eve Finn Gus Hal Ida Jo Kim Lea".split()
    text = "On the island {} is a knight who always tells the truth and {} is a knave who always lies to {}"
    prompts = [text.format(a, b, c) for a in names for b in names for c in names[:5] if len({a, b, c}) == 3]
    index = Index({"knights": prompts[::2]}, SECTION)
    assert index.find(text.format("Lea", "Kim", "Ann")) is None or text.format("Lea", "Kim", "Ann") in prompts[::2]
    assert sum(index.find(prompt) is not None for prompt in prompts[1::2]) < 0.05 * len(prompts)
    assert all(index.find(prompt) for prompt in prompts[::2])


def test_a_template_with_other_numbers_in_it_is_a_template() -> None:
    text = "A shop has {} red pens and {} blue pens in one box and sells all of them on the next day to one buyer."
    prompts = [text.format(red, 90 - red) for red in range(10, 70, 3)]
    index = Index({"pens": prompts}, SECTION)
    assert index.find(text.format(11, 79)) is None and index.find(text.format(10, 79)) is None
    assert all(index.find(f"Now: {prompt}") for prompt in prompts)


def test_idioms_that_say_how_to_answer_are_no_problem_of_the_gate() -> None:
    idiom = "can be written as $\\frac{m}{n}$, where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
    index = Index(
        {"gate": [f"The chance that a bent coin shows heads at least thrice in nine throws {idiom}"]}, SECTION
    )
    assert index.find(f"The area of the smallest of the three circles {idiom}") is None
    drawing = '[asy] size(150); draw((0,0)--(4,0)--(4,3)--cycle); label("A",(0,0),SW); label("B",(4,0),SE); [/asy]'
    index = Index({"gate": [f"Find the length of the altitude to the hypotenuse. {drawing}"]}, SECTION)
    assert index.find(f"How large is the circle that goes through all corners? {drawing}") is None


@pytest.mark.parametrize(
    "prompt",
    [
        EGGS.replace("Janet", "Svetlana"),
        EGGS.replace("three", "3").replace("16", "sixteen").replace("$2", "two dollars"),
        "Here is a puzzle for you. How much does Ines make, if she sells the remainder at the market daily for $2 per "
        "fresh duck egg? Ines eats three for breakfast every morning and bakes muffins for her friends with four. Her "
        "ducks lay 16 eggs per day.",
        "Each day, Janet's ducks lay sixteen eggs. Every morning, she eats 3 for breakfast and bakes friends muffins "
        "with 4. Daily at the market, she sells the remainder for $2 per fresh duck egg. How much does she make?",
    ],
)
def test_a_reworded_prompt_is_found(prompt: str) -> None:
    match = eggs().find(prompt)
    assert match is not None and match.theirs == EGGS
    words_alone = Index({"eggs": [*OTHERS, EGGS]}, Decontaminate(ngram=1000)).find(prompt)
    assert words_alone is not None and words_alone.stage in ("whole", "fuzzy") and words_alone.theirs == EGGS


@pytest.mark.parametrize(
    "prompt",
    [
        EGGS.replace("16", "18").replace("Janet", "Ines"),
        EGGS.replace("$2", "$3"),
        EGGS.replace("with four", "with five"),
        EGGS.replace("three", "four").replace("with four", "with three"),
        "Ducks lay 16 eggs, 3 cost $2 and 4 hens eat them. How long?",
        *OTHERS[:1],
    ],
)
def test_other_numbers_make_another_problem(prompt: str) -> None:
    match = Index({"eggs": [EGGS, *OTHERS[1:]]}, Decontaminate(ngram=1000)).find(prompt)
    assert match is None


def test_numbers_in_other_roles_make_another_problem() -> None:
    text = "In the orchard behind the mill {} brothers and {} sisters pick {} baskets of cherries. How many per head?"
    index = Index({"gate": [text.format(3, 5, 40), *OTHERS]}, Decontaminate(ngram=1000))
    assert index.find(text.format("three", "five", "forty").replace("orchard behind the mill", "mill's orchard"))
    assert index.find(text.format(5, 3, 40)) is None


def test_fuzzy_can_be_left_out_or_made_strict() -> None:
    reworded = "Her ducks lay 16 eggs per day. " + EGGS.partition(". ")[2].replace("Janet", "Ines")
    tasks = {"eggs": [*OTHERS, EGGS]}
    found = [
        Index(tasks, Decontaminate(ngram=1000, fuzzy=least)).find(f"A riddle: {reworded}") for least in (None, 0.75, 1)
    ]
    assert [match and match.stage for match in found] == [None, "fuzzy", None]
    assert found[1] is not None and 0.75 <= found[1].score < 1


def test_the_best_task_is_told_with_both_texts() -> None:
    index = Index({"first": OTHERS, "second": [EGGS], "third": [EGGS]}, SECTION)
    match = index.find(EGGS)
    assert match is not None and (match.task, match.stage, match.ours) == ("second", "whole", normal_text(EGGS))
    long = index.find(f"{'Once upon a time. ' * 100}{EGGS}")
    assert long is not None and long.stage == "ngram" and long.ours in normal_text(EGGS) and long.theirs == EGGS
    assert len(long.ours) <= 400


def test_many_prompts_are_found_like_one() -> None:
    index = eggs()
    prompts = [EGGS, "", OTHERS[2].upper(), "What is love?", EGGS.replace("Janet", "Ines"), EGGS, " ?! "]
    assert index.find_prompts(prompts) == [index.find(prompt) for prompt in prompts]
    assert [match and match.stage for match in index.find_prompts(prompts)][:3] == ["whole", None, "whole"]
    assert index.find_prompts([]) == [] and index.find_texts([]) == []


@pytest.mark.parametrize("tasks", [{}, {"a": []}, {"a": ["", "?!"]}, {"a": ["x"]}])
def test_a_gate_of_next_to_nothing_finds_nothing(tasks: dict[str, list[str]]) -> None:
    index = Index(tasks, SECTION)
    assert index.find_prompts([EGGS, ""]) == [None, None] and index.find_texts([EGGS, ""]) == [None, None]


def test_texts_are_searched_for_words_in_a_row_across_typography() -> None:
    index = eggs()
    quoted = "Okay. " * 3000 + EGGS.upper().replace("MORNING", "*morning*\n").replace("EGGS", "\\text{eggs}")
    texts = ["", quoted, quoted.replace("three", "3").replace("THREE", "3"), "é → ×" + quoted, "No. " * 5000, EGGS[:60]]
    found = index.find_texts(texts)
    assert [match and match.stage for match in found] == [None, "ngram", "ngram", "ngram", None, None]
    assert found[1] is not None and found[1].theirs == EGGS and found[1].task == "eggs"
    assert index.find_texts([EGGS.replace("day", "night").replace("for", "and").replace("with", "or")]) == [None]


def test_words_in_a_row_do_not_reach_from_text_to_text() -> None:
    words = EGGS.split()
    index = eggs()
    assert index.find_texts([" ".join(words[:8]), " ".join(words[8:20]), " ".join(words[20:28])]) == [None] * 3
    assert index.find_prompts([" ".join(words[:8]), " ".join(words[8:20])]) == [None] * 2


def test_both_forms_of_a_random_text_agree_with_plain_python() -> None:
    drawn = random.Random(3)
    vocabulary = [f"{a}{b}" for a in "bdfgklmnprst" for b in ("a", "e", "iou", "unimaginablylongend")]
    prompts = [" ".join(drawn.choices(vocabulary, k=40)) for _ in range(60)]
    texts = [" ".join(drawn.choices(vocabulary, k=200)) for _ in range(200)]
    for at in range(0, 200, 2):
        start = drawn.randrange(26)
        cut = " ".join(prompts[at % 60].split()[start : start + drawn.choice((4, 5, 6, 7))])
        texts[at] = f"{texts[at]} {cut} {texts[at]}"
    grams = {tuple(p.split()[at : at + 6]) for p in prompts for at in range(35)}
    expected = [any(tuple(t.split()[at : at + 6]) in grams for at in range(len(t.split()) - 5)) for t in texts]
    index = Index({"a": prompts[:30], "b": prompts[30:]}, Decontaminate(ngram=6, common_in=1000, fuzzy=None))
    assert [match is not None for match in index.find_texts(texts)] == expected
    assert [match is not None for match in index.find_prompts(texts)] == expected
    assert 40 < sum(expected) < 100


LONG = 300_000
"""Characters: with the square of so many steps nothing ends."""
HOSTILE = {
    "digits": "9" * LONG,
    "one endless word": "a" * LONG,
    "lone surrogates": "\ud800" * LONG,
    "NULs": "\0" * LONG,
    "marks": "a" + "\u0300\u0316" * (LONG // 2),
    "braces": "\\frac{" * (LONG // 6),
    "operators": "+(" * (LONG // 2),
    "thousands": "1,111" * (LONG // 5),
    "number words": "two hundred and " * (LONG // 16),
    "long words": ("b" * 65 + " ") * (LONG // 66),
    "bytes above ASCII": "ÿ " * (LONG // 2),
    "ideographs": "中" * (LONG // 4),
    "the start of a prompt, again and again": "A farmer has seven red hens and sells three of no one. " * (LONG // 55),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_end_and_hide_nothing(name: str) -> None:
    index = Index({"gate": [*GATE, EGGS]}, SECTION)
    assert index.find(HOSTILE[name]) is None and index.find_texts([HOSTILE[name]]) == [None]
    hidden = f"{HOSTILE[name]} {GATE[1]} {HOSTILE[name]}"
    assert [index.find(hidden), *index.find_texts([hidden, "", EGGS])].count(None) == 1


def test_gsm8k_decontamination(shared_data: Path) -> None:
    index = Index({"distill_gsm8k": questions(shared_data, "test.jsonl")}, SECTION)
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert all(index.find(row["question"]) for row in rows)
    train = questions(shared_data, "train.jsonl")
    found = [match for match in index.find_prompts(train) if match is not None]
    print(f"GSM8K train prompts flagged against test: {len(found)} of {len(train)}")
    assert len(found) < 0.005 * len(train)
    assert Counter(match.stage for match in found)["fuzzy"] <= 2


def test_math_decontamination(shared_data: Path) -> None:
    index = Index({"distill_math500": math_problems(shared_data / "math500" / "test.jsonl")}, SECTION)
    asked = math_problems(shared_data / "r1_mip_gsm8k_math" / "math_normal_deepseekR1.json")
    assert len(asked) == 52 and None not in index.find_prompts(asked)
    train = math_problems(shared_data / "math_train" / "math_train_7474.json")
    found = [match for match in index.find_prompts(train) if match is not None]
    print(f"MATH train prompts flagged against MATH-500: {len(found)} of {len(train)}")
    assert len(found) < 0.015 * len(train)


def test_reordered_sentences_and_new_names_are_found_in_gsm8k(shared_data: Path) -> None:
    test = questions(shared_data, "test.jsonl")
    index = Index({"distill_gsm8k": test}, Decontaminate(ngram=1000))
    reordered = []
    for prompt in test[::10]:
        *told, asked = re.split(r"(?<=[.?!])\s+", re.sub(r"\b(James|Josh|John|Janet|Mary|Carla)\b", "Yuki", prompt))
        reordered.append(" ".join(["Please think about this.", asked, *reversed(told)]))
    found = [match.theirs if match else None for match in index.find_prompts(reordered)]
    recall = sum(one == other for one, other in zip(found, test[::10], strict=True)) / len(reordered)
    print(f"GSM8K prompts found by likeness alone: {recall:.3f}")
    assert recall >= 0.95


def test_idioms_of_reasoning_are_not_taken_for_problems(shared_data: Path) -> None:
    index = Index({"distill_math500": math_problems(shared_data / "math500" / "test.jsonl")}, SECTION)
    path = shared_data / "r1_mip_gsm8k_math" / "gsm8k_normal_deepseekR1.json"
    said = [row["deepseek-reasoner (question)"] for row in json.loads(path.read_text(encoding="utf-8"))]
    assert sum(match is not None for match in index.find_texts(said)) <= 1


@pytest.mark.parametrize("family", ["knights_knaves", "aiw", "basic_arithmetic", "chain_sum"])
def test_fresh_puzzles_of_a_family_are_not_like_the_gates(family: str) -> None:
    gate = [problem.prompt for problem in procedural.generate(family, 200, 900_000_000, {})]
    fresh = [problem.prompt for problem in procedural.generate(family, 500, 1, {})]
    index = Index({f"distill_rg_{family}": gate}, SECTION)
    assert sum(match is not None and match.stage == "fuzzy" for match in index.find_prompts(fresh)) <= 5
    assert None not in index.find_prompts(gate)


def test_a_puzzle_under_other_names_is_the_same_puzzle() -> None:
    config = {"max_entities": 60}
    gate = [problem.prompt for problem in procedural.generate("aiw", 100, 900_000_000, config)]
    index = Index({"distill_rg_aiw": gate}, SECTION)
    names = re.compile(r"\b(?!How|They|These|All|The|She|He)[A-Z][a-z]+")
    renamed = [names.sub(lambda match: match[0][::-1].title(), prompt) for prompt in gate]
    changed = [(new, old) for new, old in zip(renamed, gate, strict=True) if new != old]
    found = [(index.find(new), old) for new, old in changed]
    assert len(changed) > 50
    assert sum(match is not None and match.theirs == old for match, old in found) == len(changed)
