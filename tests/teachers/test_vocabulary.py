"""Which tokenizers belong together, and where two token sequences are the same."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest

from distill.errors import InputError
from teachers.vocabulary import align, common, load_tokenizer

_spec = importlib.util.spec_from_file_location("teachers_reading", Path(__file__).with_name("reading.py"))
reading = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reading)


def test_one_tokenizer_is_the_same_whatever_its_end() -> None:
    same = common(reading.tokenizer(), reading.tokenizer())
    assert same.same and same.size == 261 and same.names_S.tolist() == list(range(261))
    moved = common(reading.tokenizer(eos="<|im_end|>"), reading.tokenizer())
    assert not moved.same and moved.to_student()[258] == 256 and moved.to_teacher()[256] == 258
    assert moved.to_student()[256] == -1 and moved.to_student()[257] == 257


def test_other_tokenizers_are_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"has the id 71 in the teacher's and has the id 70 .*objective: \{kind: sft\}"
    ):
        common(reading.tokenizer(swap=True), reading.tokenizer())
    with pytest.raises(InputError, match=r"'</think>' has the id 259 in the teacher's and has the id 260"):
        common(reading.tokenizer((*reading.QWEN, "</think>")), reading.tokenizer())
    with pytest.raises(InputError, match=r"</think> is one token to the student, 260, and another or several"):
        common(reading.tokenizer(reading.QWEN), reading.tokenizer())


def test_added_tokens_may_differ_and_ends_are_one() -> None:
    made = common(reading.tokenizer(reading.R1, reading.R1[0]), reading.tokenizer(reading.QWEN, "<|im_end|>"))
    assert made.size == 259 and len(made.assigned_T) == 261 and len(made.shared_S) == 257
    assert made.to_student().tolist() == [*range(256), 258, -1] + [-1] * 3
    assert made.to_teacher().tolist() == [*range(256), -1, -1, 256]


def test_a_tokenizer_without_an_end_or_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"teacher\.model: there is no model folder /nowhere"):
        load_tokenizer("teacher.model", "/nowhere/at/all")
    words = reading.tokenizer()
    words.chat_template = None
    with pytest.raises(InputError, match=r"teacher\.model: .* has no chat template"):
        load_tokenizer("teacher.model", reading.saved(tmp_path, reading.model(), words))


def test_alignment_by_hand() -> None:
    ours, theirs = align([1, 2, 3, 4, 9], [1, 2, 7, 7, 4, 9])
    assert ours.tolist() == [0, 1, 3, 4] and theirs.tolist() == [0, 1, 4, 5]
    for one, other in (([], []), ([1], []), ([], [1]), ([1], [2])):
        assert [len(places) for places in align(one, other)] == [0, 0]
    assert align([5, 5, 5], [5, 5])[0].tolist() == [0, 1]  # no place is matched twice
    assert align([0, 1, 2], [9, 1, 2])[1].tolist() == [1, 2]


def test_alignment_matches_equal_tokens_in_order_and_finds_nearly_all() -> None:
    draw = random.Random(3)
    one = [draw.randrange(50) for _ in range(400)]
    other = [token for token in one if draw.random() > 0.03]
    other[10:10] = [999, 998]
    ours, theirs = align(one, other)
    assert (np.diff(ours) > 0).all() and (np.diff(theirs) > 0).all()
    assert np.array_equal(np.array(one)[ours], np.array(other)[theirs]) and len(ours) > 0.9 * len(other)
