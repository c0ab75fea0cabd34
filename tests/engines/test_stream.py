"""The reader of server-sent events on small streams made by hand; the recorded ones are in test_api_fixtures.py."""

import json
import time
from typing import Any

import pytest

from distill import think
from distill.engines import reply
from distill.engines.reply import Trouble
from distill.engines.stream import Stream
from distill.errors import MissingReasoning


def chunk(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"model": "r1", "choices": [{"index": index, "finish_reason": finish, "delta": delta}]}


def sent(*chunks: dict[str, Any], end: str = "\n", ascii_only: bool = True) -> bytes:
    lines = [f"data: {json.dumps(each, ensure_ascii=ascii_only)}{end}{end}" for each in chunks]
    return "".join([*lines, f"data: [DONE]{end}{end}"]).encode()


def read(*parts: bytes) -> dict[str, Any]:
    stream = Stream()
    for part in parts:
        stream.feed(part)
    return stream.data()


def message(*parts: bytes) -> dict[str, Any]:
    found: dict[str, Any] = read(*parts)["choices"][0]["message"]
    return found


def small(end: str) -> bytes:
    text = sent(
        chunk(role="assistant", content=None, reasoning_content="Zwei 😀 "),
        chunk(role="assistant", reasoning_content="und zwei…"),
        chunk(content="Vier,"),
        chunk(content=" 四."),
        chunk("stop"),
        {"model": "r1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}},
        end=end,
        ascii_only=False,
    )
    return f": OPENROUTER PROCESSING{end}{end}event: message{end}id: 1{end}retry: 10{end}".encode() + text


SMALL = {
    "model": "r1",
    "choices": [
        {
            "finish_reason": "stop",
            "message": {"role": "assistant", "reasoning_content": "Zwei 😀 und zwei…", "content": "Vier, 四."},
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 7},
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_split_gives_the_same(end: str) -> None:
    text = small(end)
    assert read(text) == SMALL
    for at in range(len(text) + 1):
        assert read(text[:at], text[at:]) == SMALL
    assert read(*(text[at : at + 1] for at in range(len(text)))) == SMALL


def test_the_sum_is_what_the_reply_reader_takes() -> None:
    found = reply.completion(read(small("\n")), "r1", allow_other_model=False, host="here")
    assert (found.reasoning, found.answer, found.finish) == ("Zwei 😀 und zwei…", "Vier, 四.", "stop")
    assert (found.prompt_tokens, found.completion_tokens, found.provider) == (5, 7, "here")


def test_comments_and_other_fields_are_no_data() -> None:
    noise = b": keep-alive\n\n:\n\nevent: ping\ndata\ndata:\n\n\n\nid: 3\nwhat: {\n\n"
    text = sent(chunk(content="4"), chunk("stop"))
    assert message(noise, text.replace(b"\n\n", b"\n\n" + noise)) == {"content": "4"}


def test_space_after_the_colon_is_free() -> None:
    assert message(sent(chunk(content="4"), chunk("stop")).replace(b"data: ", b"data:")) == {"content": "4"}


def test_one_event_over_several_lines_and_several_without_a_blank_line() -> None:
    apart = sent(chunk(content="4"), chunk("stop")).replace(b'"choices"', b'\ndata: "choices"')
    assert message(apart) == {"content": "4"}
    together = sent(chunk(content="4"), chunk(content="2"), chunk("stop")).replace(b"\n\n", b"\n")
    assert message(together) == {"content": "42"}


def test_the_last_line_may_lack_its_end() -> None:
    text = sent(chunk(content="4"), chunk("stop")).removesuffix(b"data: [DONE]\n\n").rstrip()
    assert message(text) == {"content": "4"}


def test_both_fields_of_reasoning_are_summed_apart() -> None:
    pairs = [chunk(reasoning=text, reasoning_content=text) for text in ("2 ", "and ", "2.")]
    found = message(sent(*pairs, chunk(content="4"), chunk("stop")))
    assert found == {"reasoning": "2 and 2.", "reasoning_content": "2 and 2.", "content": "4"}
    assert think.read_message(found).reasoning == "2 and 2."


def test_details_are_extended_and_encrypted_ones_have_no_text() -> None:
    texts = [chunk(reasoning_details=[{"type": "reasoning.text", "text": text, "index": 0}]) for text in ("2 ", "+ 2")]
    hidden = chunk(reasoning=None, reasoning_details=[{"type": "reasoning.encrypted", "data": "gAAAA", "index": 0}])
    found = message(sent(*texts, hidden, chunk("stop", content="4")))
    assert [part["type"] for part in found["reasoning_details"]] == ["reasoning.text"] * 2 + ["reasoning.encrypted"]
    assert think.read_message(found).reasoning == "2 + 2"
    with pytest.raises(MissingReasoning):
        reply.completion(read(sent(hidden, chunk("stop", content="4"))), "r1", allow_other_model=False)


def test_content_in_parts_and_other_values() -> None:
    parts = [chunk(content=[{"type": "text", "text": text}], token_id=at) for at, text in enumerate("42")]
    found = message(sent(*parts, chunk("stop", content="!", token_id=None)))
    assert found["token_id"] == 1 and think.read_message(found).answer == "42!"
    assert think.read_message(message(sent(chunk("stop", reasoning={"text": "so"})))).reasoning == "so"


def test_only_the_first_choice_counts() -> None:
    second = chunk("length", index=1, content="no")
    both = {"choices": [second["choices"][0], *chunk(content="2")["choices"]]}
    assert read(sent(chunk(content="4"), second, both, chunk("stop"), second))["choices"] == [
        {"finish_reason": "stop", "message": {"content": "42"}}
    ]


@pytest.mark.parametrize(
    ("last", "usage"),
    [
        ({"choices": [], "usage": {"completion_tokens": 7}}, {"completion_tokens": 7}),
        ({"choices": [], "x_groq": {"usage": {"completion_tokens": 7}}}, {"completion_tokens": 7}),
        ({"choices": [{"index": 0, "delta": {}, "usage": {"completion_tokens": 7}}]}, {"completion_tokens": 7}),
        ({"choices": [], "usage": None}, {"completion_tokens": 1}),
        ({"x_groq": {"id": "a"}}, {"completion_tokens": 1}),
    ],
)
def test_the_last_stated_usage_counts(last: dict[str, Any], usage: dict[str, Any]) -> None:
    early = chunk("stop", content="4") | {"usage": {"completion_tokens": 1}}
    assert read(sent(early, last, {"choices": [], "usage": None}))["usage"] == usage


def test_nothing_stated_is_none() -> None:
    found = read(sent({"choices": [{"delta": {"content": "4"}}]}, {"choices": [{"finish_reason": "length"}]}))
    assert found == {
        "model": None,
        "choices": [{"finish_reason": "length", "message": {"content": "4"}}],
        "usage": None,
    }


def test_the_first_named_model_and_provider_count() -> None:
    chunks = [chunk(content="4") | {"model": "", "provider": None}, chunk() | {"provider": "A"}, chunk("stop")]
    chunks[-1] |= {"model": "other", "provider": "B"}
    found = read(sent(*chunks))
    assert (found["model"], found["provider"]) == ("r1", "A")


def test_the_last_finish_reason_counts() -> None:
    chunks = [chunk("", content="4"), chunk("stop"), chunk("length"), chunk(None), chunk("")]
    assert read(sent(*chunks))["choices"][0]["finish_reason"] == "length"


def test_an_error_takes_the_place_of_the_choices() -> None:
    error = {"code": 429, "message": "slow down"}
    broken = chunk("error", content="") | {"error": error}
    found = read(sent(chunk(content="4"), broken))
    assert found == {"error": error}
    with pytest.raises(Trouble, match="slow down") as caught:
        reply.checked(found, {}, "r1")
    assert caught.value.kind == "HTTP429"
    nothing: list[Any] = [None, "", {}]
    for none in nothing:
        assert message(sent(chunk(content="4") | {"error": none}, chunk("stop"))) == {"content": "4"}


@pytest.mark.parametrize("cut", [0, 1, 40, -60])
def test_a_torn_stream_is_trouble(cut: int) -> None:
    text = sent(chunk(reasoning="2 and"), chunk(content="4"), chunk("stop")).partition(b"data: [DONE]")[0]
    with pytest.raises(Trouble, match="the stream") as caught:
        read(text[:cut])
    assert caught.value.kind == "TornStream"


def test_torn_after_the_finish_reason_is_whole() -> None:
    text = sent(chunk("stop", content="4"), {"choices": [], "usage": {"completion_tokens": 7}})
    found = read(text[: text.index(b"completion_tokens")])
    assert found["choices"][0]["message"] == {"content": "4"} and found["usage"] is None


@pytest.mark.parametrize("bad", [b"<html>gateway</html>", b'{"choices": [', b"17", b"\xff\xfe", b"[" * 100_000])
def test_data_that_is_no_json_object_is_trouble_at_once(bad: bytes) -> None:
    for end in ("\n", "\r\n"):
        stream = Stream()
        stream.feed(sent(chunk(content="4"), end=end))
        with pytest.raises(Trouble, match="not a JSON object") as caught:
            stream.feed(b"data: " + bad + end.encode() * 2)
        assert caught.value.kind == "BadBody"


@pytest.mark.parametrize("odd", [{}, {"choices": None}, {"choices": ["a"]}, {"choices": [{"delta": "a"}]}])
def test_odd_chunks_are_passed_over(odd: dict[str, Any]) -> None:
    assert message(sent(odd, chunk(content="4"), odd, chunk("stop"), odd)) == {"content": "4"}


def test_halves_of_a_surrogate_pair_in_two_deltas_are_one_character() -> None:
    text = sent(chunk(reasoning="so \ud83d"), chunk(reasoning="\ude00"), chunk("stop", content="4"))
    assert reply.completion(read(text), "r1", allow_other_model=False).reasoning == "so 😀"


def test_time_is_linear_in_the_length() -> None:
    count = 20_000
    text = sent(*(chunk(reasoning="wait, ", reasoning_content="wait, ") for _ in range(count)), chunk("stop"))
    start = time.monotonic()
    found = message(*(text[at : at + 50] for at in range(0, len(text), 50)))
    assert found["reasoning"] == found["reasoning_content"] == "wait, " * count
    one_line = json.dumps(chunk("stop", content="a" * 4_000_000)).encode()
    pieces = (one_line[at : at + 100] for at in range(0, len(one_line), 100))
    assert len(message(b"data: ", *pieces, b"\n\n")["content"]) == 4_000_000
    assert time.monotonic() - start < 5  # about 0.5 s; minutes where text is copied at each piece
