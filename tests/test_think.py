"""Reasoning told from answers, on every shape in which servers and data sets hold it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill import think
from distill.think import Thought

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>\na\n</think>\n\nb", Thought("a", "b", True, True)),
        ("a\n</think>\n\nb", Thought("a", "b", True, True)),
        ("  <think>a</think>b ", Thought("a", "b", True, True)),
        ("<think>\n\n</think>\n\nb", Thought("", "b", True, True)),
        ("just b", Thought("", "just b", True, True)),
        ("", Thought("", "", True, True)),
        ("<think>a", Thought("a", "", False, True)),
        ("b first <think>a", Thought("b first a", "", False, False)),
        ("a</think>", Thought("a", "", True, True)),
        ("<think><think>a</think>b", Thought("a", "b", True, False)),
        ("<think>a</think>c</think>b", Thought("a</think>c", "b", True, False)),
        ("<think>a</think>b<think>c", Thought("a</think>b<think>c", "", False, False)),
        ("<think>a</think>b<think>c</think>d", Thought("a</think>b<think>c", "d", True, False)),
        ("a <think> c</think>b", Thought("a <think> c", "b", True, False)),
    ],
)
def test_split(text: str, wanted: Thought) -> None:
    assert think.split(text) == wanted


def test_without_a_tag_an_opened_text_is_never_an_answer() -> None:
    unfinished = think.split("still at it, \\boxed{4}", opened=True)
    assert (unfinished.reasoning, unfinished.answer, unfinished.closed) == ("still at it, \\boxed{4}", "", False)
    assert think.split("a</think>b", opened=True) == Thought("a", "b", True, True)
    assert think.split("<think>a</think>b", opened=True) == Thought("a", "b", True, True)


@pytest.mark.parametrize(("reasoning", "answer"), [("a", "b"), ("a\n\nb <thin", "c\nd"), ("", "b"), ("a", "")])
def test_join_and_split_are_inverse(reasoning: str, answer: str) -> None:
    text = think.join(reasoning, answer)
    assert think.split(text) == Thought(reasoning, answer, True, True)
    assert think.split(text.removeprefix(think.OPEN), opened=True) == Thought(reasoning, answer, True, True)


def test_open_prompt_opens_once() -> None:
    assert think.open_prompt("<user>hi") == "<user>hi<think>\n"
    for opened in ("<user>hi<think>\n", "<user>hi<think>"):
        assert think.open_prompt(opened) == opened and think.opens(opened)


@pytest.mark.parametrize(
    "message",
    [
        {"content": "b", "reasoning": "a"},
        {"content": "b", "reasoning_content": "a", "reasoning": None},
        {"content": "b", "reasoning": "", "reasoning_details": [{"type": "reasoning.text", "text": "a"}]},
        {"content": "b", "reasoning_details": [{"type": "reasoning.summary", "summary": "a"}]},
        {"content": "<think>\na\n</think>\n\nb"},
        {"content": "a</think>b"},
        {"content": "<think>\na\n</think>\n\nb", "reasoning_content": "a"},
        {"content": [{"type": "text", "text": "b"}], "reasoning": "a"},
    ],
)
def test_messages_of_every_server(message: dict[str, Any]) -> None:
    thought = think.read_message(message)
    assert (thought.reasoning, thought.answer, thought.closed) == ("a", "b", True)


def test_messages_without_an_answer_or_without_reasoning() -> None:
    assert think.read_message({"content": None, "reasoning": "a"}) == Thought("a", "", False, True)
    assert think.read_message({"content": "b", "reasoning": None}) == Thought("", "b", True, True)
    assert think.read_message({}) == Thought("", "", True, True)


@pytest.mark.parametrize("name", ["r1_0528_lineage8", "r1_0528_lineage64", "qwen3_32b_lineage8"])
def test_real_openrouter_answers(name: str) -> None:
    path = DATA / "r1_lineage_logic" / f"{name}_api_pairs.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(pairs) == 40
    for pair in pairs:
        message = pair["response"]["choices"][0]["message"]
        thought = think.read_message(message)
        assert thought.reasoning == message["reasoning"].strip() and thought.clean
        assert thought.answer == message["content"].strip()


def test_recorded_r1_answers_of_other_servers() -> None:
    folder = DATA / "api_fixtures" / "pydantic_ai_cassettes"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    read = 0
    for path in sorted(folder.glob("*.yaml")):
        for message in _messages(yaml.safe_load(path.read_text(encoding="utf-8"))):
            thought = think.read_message(message)
            assert think.CLOSE not in thought.answer and think.OPEN not in thought.answer
            inside = think.CLOSE in (message.get("content") or "")
            if inside or any(message.get(field) for field in think.FIELDS):
                assert thought.reasoning, path.name
                read += 1
    assert read >= 4


def _messages(cassette: Any) -> list[dict[str, Any]]:
    bodies = [turn["response"].get("parsed_body") for turn in cassette["interactions"]]
    choices = [choice for body in bodies if isinstance(body, dict) for choice in body.get("choices", [])]
    return [choice["message"] for choice in choices if isinstance(choice.get("message"), dict)]


def test_a_heap_of_opening_tags_is_one() -> None:
    heap = "<think>\n  <think>" * 50_000
    assert think.split(f"{heap} so</think>4").reasoning == "so"
    assert not think.split(heap).reasoning.strip()
