"""Every recorded API body beside the checkout, served over loopback HTTP and read by the endpoint engine.

What must come out is computed here from the recorded JSON, provider by provider, without `distill.think` and without
`distill.engines`.
"""

import asyncio
import functools
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from distill.engines.endpoint import EndpointEngine
from distill.engines.stream import Stream
from distill.errors import EngineError, MissingReasoning
from distill.records import Completion, Failure, Request, Sampling
from distill.teacher_sections import EndpointTeacher

TAGS, DEEPSEEK, OPENROUTER = "<think>", "reasoning_content", "reasoning"

READ = {
    # DashScope, Qwen3 with a thinking budget of 128 tokens; usage in a last chunk without choices
    "basic_qwen3_stream 0": DEEPSEEK,
    "basic_qwen3_stream 1": DEEPSEEK,
    "basic_qwen3_stream 2": DEEPSEEK,
    "basic_qwen3_stream 3": DEEPSEEK,
    "basic_qwen3_stream 4": DEEPSEEK,
    "basic_qwen3_stream 6": DEEPSEEK,
    "test_deepseek_deferred_capability_with_thinking 2": DEEPSEEK,
    "test_deepseek_model_thinking_part 0": DEEPSEEK,
    "test_deepseek_model_thinking_stream 0": DEEPSEEK,
    # Groq, asked for reasoning_format raw in the first turn and parsed in the second; streamed usage is in x_groq
    "test_groq_model_thinking_part 0": TAGS,
    "test_groq_model_thinking_part 1": "reasoning",
    "test_groq_model_thinking_part_iter 0": TAGS,
    "test_groq_model_thinking_part_iter 1": "reasoning",
    # R1 on Together, behind Hugging Face's router
    "test_hf_model_thinking_part 0": TAGS,
    "test_hf_model_thinking_part 1": TAGS,
    "test_hf_model_thinking_part_iter 0": TAGS,
    # gpt-5-mini: the readable reasoning is OpenAI's summary, the other entry of reasoning_details is encrypted
    "test_openrouter_preserve_reasoning_block 1": OPENROUTER,
    "test_openrouter_with_reasoning 0": OPENROUTER,
    "test_zai_thinking_stream 0": DEEPSEEK,
}
"""The bodies that are completions, and where the reasoning is in them."""

UNREAD: dict[str, tuple[str, str]] = {
    # calls of tools: the answer is not there yet, and a sampler that sends no tools has no use for it
    "test_deepseek_deferred_capability_with_thinking 0": ("FinishReason", "'tool_calls'"),
    "test_deepseek_deferred_capability_with_thinking 1": ("FinishReason", "'tool_calls'"),
    # gpt-5-mini said hello without a thought (reasoning_tokens 0)
    "test_openrouter_preserve_reasoning_block 0": ("MissingReasoning", "content, role, and reasoning is read from"),
    # o3 gives its reasoning encrypted only: reasoning is null, and reasoning_details has one entry without text
    "test_openrouter_stream_with_reasoning 0": (
        "MissingReasoning",
        "content, reasoning_details, role, and reasoning is read from",
    ),
    # no chat at all: litellm's list of prices as plain text, gzip-encoded as it was sent; a wrong base_url is like this
    "basic_qwen3_stream 5": ("NoChoices", "the answer has no choices"),
}
"""The bodies that must not become completions: the failure or the error, and a part of its message."""

STREAMED = 12
"""Of all recorded bodies."""
MOVED = tuple(f"test_deepseek_deferred_capability_with_thinking {at}" for at in range(3))
"""Asked for deepseek-reasoner, answered by deepseek-v4-flash."""
PAIRS = ("qwen3_32b_lineage8", "r1_0528_lineage8", "r1_0528_lineage64")


@dataclass(frozen=True)
class Body:
    """A recorded response: the model that was asked for, and the bytes as they were sent."""

    asked: str
    sent: bytes
    content_type: str
    encoding: str = ""

    @property
    def streamed(self) -> bool:
        return self.content_type.startswith("text/event-stream")


class Player:
    """Answers the prompt `key` with the body of that name, streams in pieces that cut lines and characters."""

    def __init__(self) -> None:
        self.bodies: dict[str, Body] = {}
        self.asked: dict[str, dict[str, Any]] = {}
        self.loop = asyncio.new_event_loop()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        key = asked["messages"][0]["content"]
        self.asked[key], body = asked, self.bodies[key]
        headers = {"Content-Type": body.content_type} | ({"Content-Encoding": body.encoding} if body.encoding else {})
        if not body.streamed:
            return web.Response(body=body.sent, headers=headers)
        answer = web.StreamResponse(headers=headers)
        await answer.prepare(request)
        for at in range(0, len(body.sent), 9973):
            await answer.write(body.sent[at : at + 9973])
            await asyncio.sleep(0)
        await answer.write_eof()
        return answer

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    def ask(self, key: str, body: Body, **settings: Any) -> Completion | Failure:
        """What a fresh engine makes of one body."""
        self.bodies = {key: body}
        section = {"model": body.asked, "stream": body.streamed, "allow_other_model": True, "max_retries": 0} | settings
        teacher = EndpointTeacher(kind="endpoint", base_url=self.url, timeout_s=60, **section)
        [(_, outcome)] = EndpointEngine(teacher, None).complete([Request("p#0", key, 0, Sampling(1.0, 1.0, 100))])
        return outcome


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    made = Player()
    thread = threading.Thread(target=made.loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(made.start(), made.loop).result(60)
    yield made
    asyncio.run_coroutine_threadsafe(made.runner.cleanup(), made.loop).result(60)
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()
    made.loop.close()


@functools.cache
def recorded(path: Path) -> dict[str, Body]:
    """A cassette's bodies by name and number."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    interactions = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)["interactions"]
    return {f"{path.stem} {at}": body_of(each["request"], each["response"]) for at, each in enumerate(interactions)}


def body_of(request: dict[str, Any], response: dict[str, Any]) -> Body:
    asked = request.get("parsed_body") or json.loads(request.get("body") or "{}")
    headers = {name.lower(): values[0] for name, values in response["headers"].items()}
    assert response["status"]["code"] == 200
    sent: Any  # text; bytes where it was recorded as compressed
    if "parsed_body" in response:
        sent = json.dumps(response["parsed_body"], ensure_ascii=False)
    else:
        sent = response["body"]["string"]
    return Body(
        asked.get("model", "qwen3-235b-a22b"),  # of the curator's requests one was not recorded
        sent if isinstance(sent, bytes) else sent.encode(),
        headers["content-type"],
        headers.get("content-encoding", "") if isinstance(sent, bytes) else "",
    )


def all_recorded(shared_data: Path) -> dict[str, Body]:
    bodies: dict[str, Body] = {}
    for path in sorted((shared_data / "api_fixtures").rglob("*.y*ml")):
        bodies |= recorded(path)
    return bodies


def chunks(body: Body) -> list[dict[str, Any]]:
    """A stream's chunks; the recorded ones have one line of data to an event."""
    lines = body.sent.decode().replace("\r", "").split("\n")
    return [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:") and "{" in line]


def whole(body: Body) -> dict[str, Any]:
    """What a body says, streamed or not: content, reasoning, reasoning_content, finish, usage, model, provider."""
    if not body.streamed:
        data = whole_json(body)
        [choice] = data["choices"]
        return {**data, **choice["message"], "finish": choice["finish_reason"]}
    said: dict[str, Any] = {"content": "", "reasoning": "", "reasoning_content": ""}
    for chunk in chunks(body):
        said |= {name: chunk[name] for name in ("model", "provider") if name in chunk}
        said["usage"] = chunk.get("usage") or chunk.get("x_groq", {}).get("usage") or said.get("usage")
        for choice in chunk["choices"]:
            said["finish"] = choice.get("finish_reason") or said.get("finish")
            for field in ("content", "reasoning", "reasoning_content"):
                said[field] += choice["delta"].get(field) or ""
    return said


def expected(body: Body, form: str) -> Completion:
    said = whole(body)
    if form == TAGS:
        before, _, rest = said["content"].partition("<think>")
        reasoning, _, answer = rest.partition("</think>")
        assert not before.strip() and not said.get("reasoning") and not said.get("reasoning_content")
    else:
        reasoning, answer = said[form], said["content"]
    assert reasoning.strip() and answer.strip() and "think>" not in reasoning + answer
    return Completion(
        reasoning=reasoning.strip(),
        answer=answer.strip(),
        finish=said["finish"],
        prompt_tokens=said["usage"]["prompt_tokens"],
        completion_tokens=said["usage"]["completion_tokens"],
        model=said["model"],
        clean=True,
        provider=said.get("provider") or "127.0.0.1",
    )


def test_no_recorded_body_is_left_out(shared_data: Path) -> None:
    bodies = all_recorded(shared_data)
    assert sorted(bodies) == sorted([*READ, *UNREAD]) and len(bodies) == 24
    assert sum(body.streamed for body in bodies.values()) == STREAMED
    found = {path.name.removesuffix("_api_pairs.jsonl") for path in shared_data.rglob("*_api_pairs.jsonl")}
    assert found == set(PAIRS)


@pytest.mark.parametrize("key", READ)
def test_recorded_completion(player: Player, shared_data: Path, key: str) -> None:
    body = all_recorded(shared_data)[key]
    wanted = expected(body, READ[key])
    assert isinstance(wanted.prompt_tokens, int) and isinstance(wanted.completion_tokens, int)
    assert player.ask(key, body) == wanted
    streaming = {"stream": True, "stream_options": {"include_usage": True}} if body.streamed else {}
    assert {name: player.asked[key][name] for name in player.asked[key] if name.startswith("stream")} == streaming


@pytest.mark.parametrize("key", UNREAD)
def test_recorded_body_that_is_no_completion(player: Player, shared_data: Path, key: str) -> None:
    kind, part = UNREAD[key]
    body = all_recorded(shared_data)[key]
    if kind == "MissingReasoning":
        with pytest.raises(MissingReasoning, match=part):
            player.ask(key, body)
        return
    outcome = player.ask(key, body)
    assert isinstance(outcome, Failure) and outcome.error == kind and part in outcome.message


def test_the_bodies_without_reasoning_hold_none(shared_data: Path) -> None:
    """What `UNREAD` says about them is so."""
    bodies = all_recorded(shared_data)
    for key in (key for key, (kind, _) in UNREAD.items() if kind == "MissingReasoning"):
        said = whole(bodies[key])
        assert not said.get("reasoning") and not said.get("reasoning_content") and "think>" not in said["content"]
    o3 = chunks(bodies["test_openrouter_stream_with_reasoning 0"])
    details = [part for each in o3 for part in each["choices"][0]["delta"].get("reasoning_details", ())]
    assert [part["type"] for part in details] == ["reasoning.encrypted"] and "text" not in details[0]
    prices = json.loads(gzip.decompress(bodies["basic_qwen3_stream 5"].sent))
    assert "choices" not in prices and "error" not in prices


@pytest.mark.parametrize("key", [*READ, *MOVED])
def test_only_a_moved_alias_is_another_model(player: Player, shared_data: Path, key: str) -> None:
    body = all_recorded(shared_data)[key]
    if key in MOVED:
        with pytest.raises(EngineError, match=r"asked for .*'deepseek-reasoner'.* answered with 'deepseek-v4-flash'"):
            player.ask(key, body, allow_other_model=False)
    else:
        assert player.ask(key, body, allow_other_model=False) == expected(body, READ[key])


@pytest.mark.parametrize("key", READ)
@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0, "reasoning_tokens": 0}])
def test_counts_that_are_missing_or_zero_are_unknown(
    player: Player, shared_data: Path, key: str, usage: dict[str, int] | None
) -> None:
    body = all_recorded(shared_data)[key]
    parts = chunks(body) if body.streamed else [whole_json(body)]
    altered = [without_usage(part) | {"usage": usage} for part in parts]
    texts = [json.dumps(each) for each in altered]
    sent = "".join(f"data: {text}\n\n" for text in texts) if body.streamed else texts[0]
    outcome = player.ask(key, Body(body.asked, sent.encode(), body.content_type))
    wanted = expected(body, READ[key])
    assert isinstance(outcome, Completion) and (outcome.prompt_tokens, outcome.completion_tokens) == (None, None)
    assert (outcome.reasoning, outcome.answer, outcome.finish) == (wanted.reasoning, wanted.answer, wanted.finish)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_recorded_streams_read_the_same_however_they_are_cut(shared_data: Path, size: int) -> None:
    streams = [body for body in all_recorded(shared_data).values() if body.streamed]
    for body in streams:
        uncut, cut = Stream(), Stream()
        uncut.feed(body.sent)
        for at in range(0, len(body.sent), size):
            cut.feed(body.sent[at : at + size])
        assert cut.data() == uncut.data()


def whole_json(body: Body) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(body.sent)
    return data


def without_usage(chunk: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in chunk.items() if name not in ("usage", "x_groq")}


@pytest.mark.parametrize("name", PAIRS)
def test_raw_pairs_from_openrouter(player: Player, shared_data: Path, name: str) -> None:
    path = shared_data / "r1_lineage_logic" / f"{name}_api_pairs.jsonl"
    pairs = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = {pair["request"]["messages"][0]["content"]: pair for pair in pairs}
    assert len(prompts) == len(pairs) == 40
    player.bodies = {
        prompt: Body(pair["request"]["model"], json.dumps(pair["response"]).encode(), "application/json")
        for prompt, pair in prompts.items()
    }
    asked = pairs[0]["request"]
    section = EndpointTeacher(
        kind="endpoint", model=asked["model"], base_url=player.url, concurrency=8, max_retries=0, timeout_s=60
    )
    sampling = Sampling(asked["temperature"], 0.95, 65535)
    requests = [Request(prompt, prompt, asked["seed"], sampling) for prompt in prompts]
    outcomes = {request.id: outcome for request, outcome in EndpointEngine(section, None).complete(requests)}
    assert outcomes == {prompt: expected(player.bodies[prompt], OPENROUTER) for prompt in prompts}
    for prompt, pair in prompts.items():
        recorded_request = {field: pair["request"][field] for field in ("model", "messages", "temperature", "seed")}
        assert player.asked[prompt].items() >= recorded_request.items()
    # OpenRouter says reasoning_tokens 0 beside thousands of completion tokens
    assert {pair["response"]["usage"].get("reasoning_tokens", 0) for pair in pairs} == {0}
