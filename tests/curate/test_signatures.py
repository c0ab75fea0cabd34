"""Signatures: against true similarities, for any text, the same in every process; and what each hash sees."""

import random
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from distill.curate import signatures
from distill.curate.signatures import SHINGLE, features, folded, similarity, sketch, sketches, with_tokens
from distill.records import Completion, Problem, Sampling, Trace

HENS = "A farmer has seven red hens and sells three of them. He buys 12 white ones. How many hens does he have now?"


def trace(reasoning: str, prompt: str) -> Trace:
    problem = Problem("p", prompt, "4", "math", "test")
    completion = Completion(reasoning, "\\boxed{4}", "stop", 5, None, "r1")
    return Trace("p#0", problem, completion, "r1", 0, Sampling(), None, "", 0.0)


def true_similarity(one: str, other: str) -> float:
    first, second = (
        {tuple(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}
        for words in (re.findall(r"[a-z]+|\d+", text) for text in (one, other))
    )
    return len(first & second) / len(first | second)


def test_the_estimate_is_the_true_similarity_within_its_error() -> None:
    chosen, errors = random.Random(1), []
    for share in np.linspace(0, 1, 60):
        words = [f"w{letter}" for letter in re.findall("[a-z]{3}", "".join(chosen.choices("abcdefghij", k=1200)))]
        other = [word if chosen.random() < share else f"v{word}" for word in words]
        one, two = " ".join(words), " ".join(other)
        true = true_similarity(one, two)
        error = similarity(sketch(one), sketch(two)) - true
        assert abs(error) <= 4 * (true * (1 - true) / signatures.PERMUTATIONS) ** 0.5 + 1e-9
        errors.append(error)
    assert abs(np.mean(errors)) < 0.01


def test_texts_of_few_words_or_none_have_signatures_too() -> None:
    assert len(sketch("")) == 4 * signatures.PERMUTATIONS == len(sketch("one")) == len(sketch("a b c d"))
    assert sketch("Four") == sketch("four.") != sketch("five") != sketch("")
    assert sketches([]) == [] and sketches(["", "a b c"]) == [sketch(""), sketch("a b c")]


def test_signatures_see_words_and_their_order_and_no_typography() -> None:
    assert sketch("Then x is  ９０, he said.") == sketch("then X is 90\nhe said")
    assert sketch("the cat saw the dog") != sketch("the dog saw the cat")
    assert similarity(sketch("三只猫在桌子上睡觉"), sketch("三只猫在椅子上睡觉")) > 0.3


def test_signatures_are_the_same_in_every_process() -> None:
    code = f"from distill.curate import signatures as s; print(s.sketch({HENS!r}).hex(), s.numbers({HENS!r}))"
    command = [sys.executable, "-c", code]
    told = {
        subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert told == {f"{sketch(HENS).hex()} {signatures.numbers(HENS)}\n"}


def test_numbers_count_as_often_as_they_stand_there_in_any_order() -> None:
    numbers = signatures.numbers
    assert numbers("3 apples and four pears") == numbers("4 pears, three apples")
    assert numbers("twenty-five of 1,200") == numbers("1200 has 25")
    assert len({numbers(text) for text in ("", "3", "3 and 3", "3.5", "3 and 5", "35", "1,20", "120")}) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Compute 2 + 2.", "Compute 2 * 2."),
        ("Compute 5 - 3 + 4.", "Compute 3 - 5 + 4."),
        ("Is it true that x < y?", "Is it true that x > y?"),
        ("not ( True and False ) is", "( not True ) and False is"),
        ("Which of them is not red?", "Which of them is red?"),
        ("How many are at least there?", "How many are at most there?"),
        ("Count:\n##.#\n.##.\n#..#", "Count:\n##.#\n#.#.\n#..#"),
        ("Count: 🙂 🙂 🙃", "Count: 🙂 🙃 🙂"),
        ("Close: [ { (", "Close: { [ ("),
    ],
)
def test_what_turns_a_prompt_into_another_one_is_in_its_marks(one: str, other: str) -> None:
    assert signatures.marks(one) != signatures.marks(other)


def test_answers_are_compared_by_their_value() -> None:
    def answer(text: str, **meta: Any) -> int:
        return signatures.answer(Problem.of("q", text, "rule", "test", **meta))

    assert answer("142.0") == answer("142") == answer("$142$") == answer(" 142. ") != answer("1420")
    assert answer("1,000") == answer("1000") and answer("10") != answer("1") and answer("0.50") == answer("0.5")
    assert answer("\\frac12") != answer("\\frac13") and answer("Paris") == answer("paris") != answer("Rome")
    assert answer("", seed=1) != answer("", seed=2) and answer("x", seed=1) == answer("x", seed=2)


def test_hostile_texts_are_linear() -> None:
    marks = "a" + "\u0301\u0327" * 300_000  # ordering these as they are would take hours
    long = ["1," * 400_000, "((" * 400_000, "\\" * 400_000, "x" * 800_000, "𝟗" * 200_000, marks, "\ud800" * 1000]
    for text in long:
        assert len(features([trace(text, text)])) == 1


def test_one_by_one_and_at_once_characters_become_the_same() -> None:
    text = "x² ½ ﬁne …㎏ Ⅳ ａｂ straße"
    assert folded(text) == folded(text + " e\u0301").removesuffix(" é") == "x2 1⁄2 fine ...kg iv ab strasse"


def test_features_say_the_same_as_their_parts() -> None:
    one = trace("Two and 2 are four.", HENS)
    found = features([trace("x", HENS), one])[1]
    assert found.digest == signatures.digest(one) and found.sketch == sketch(one.completion.reasoning)
    assert found.numbers == signatures.numbers(one.completion.reasoning)
    assert found.marks == signatures.marks(HENS) and found.content == signatures.content(HENS)
    assert found.answer == signatures.answer(one.problem)
    assert (found.tokens, with_tokens(found, 7).tokens) == (0, 7)
    assert (found.id, found.problem_id, found.source) == (one.id, one.problem.id, "test")
