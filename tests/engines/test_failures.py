"""Everything that can go wrong between a sampler and a server, each over real sockets on this machine."""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from distill.engines.endpoint import EndpointEngine
from distill.errors import EngineError
from distill.records import Completion, Failure, Request, Sampling, Watch
from distill.teacher_sections import EndpointTeacher

KEY = "sk-very-secret"
Handler = Callable[[dict[str, Any], int, asyncio.StreamWriter], Awaitable[None]]


def answer(model: str = "r1", **message: Any) -> dict[str, Any]:
    message = message or {"content": "It is 4.", "reasoning_content": "2 and 2."}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return {"model": model, "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


def http(body: Any, status: int = 200, kind: str = "application/json", length: int | None = None, **more: str) -> bytes:
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {"Content-Type": kind, "Content-Length": str(len(data) if length is None else length)}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + data


def events(*data: str, end: str = "data: [DONE]\n\n") -> bytes:
    """A stream of server-sent events, whose end is the end of the connection."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return head + "".join(f"data: {item}\n\n" for item in data).encode() + end.encode()


class Server:
    """Hands each request to `handler(body, n, writer)`, which writes whatever bytes it likes."""

    def __init__(self) -> None:
        self.handler: Handler = self._good
        self.calls: list[tuple[dict[str, Any], float]] = []
        self.now = self.most = 0
        self.loop = asyncio.new_event_loop()
        self.url = ""

    async def _good(self, body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http(answer()))

    def says(self, *replies: bytes | None) -> None:
        """The n-th call gets the n-th reply, and all later ones the last; None cuts the connection."""

        async def handler(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
            reply = replies[min(n, len(replies)) - 1]
            if reply is None:
                writer.transport.abort()
            else:
                writer.write(reply)
                if b"Connection: close" in reply[:200]:
                    writer.close()

        self.handler = handler

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.calls.append((body, time.monotonic()))
                self.now += 1
                self.most = max(self.most, self.now)
                try:
                    await self.handler(body, len(self.calls), writer)
                    await writer.drain()
                finally:
                    self.now -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def start(self, port: int = 0) -> None:
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", port, backlog=2048)
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    async def stop(self) -> None:
        self.server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.loop.run_forever)
    thread.start()
    made.call(made.start())
    yield made
    made.call(made.stop())
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()
    made.loop.close()


def engine(server: Server, watch: Watch | None = None, first_pause_s: float = 0.01, **settings: Any) -> EndpointEngine:
    settings = {"model": "r1", "base_url": server.url, "max_retries": 2, "timeout_s": 60} | settings
    section = EndpointTeacher(kind="endpoint", **settings)
    return EndpointEngine(section, KEY, first_pause_s=first_pause_s, watch=watch)


def asks(count: int) -> list[Request]:
    return [Request(f"p{at}#0", f"prompt {at}", 0, Sampling(max_tokens=100)) for at in range(count)]


def outcomes(made: EndpointEngine, count: int = 1) -> list[Completion | Failure]:
    return [outcome for _, outcome in made.complete(asks(count))]


PIECE = json.dumps({"model": "r1", "choices": [{"index": 0, "delta": {"reasoning_content": "2 and 2."}}]})
END = json.dumps({"model": "r1", "choices": [{"index": 0, "delta": {"content": "It is 4."}, "finish_reason": "stop"}]})
WHOLE = json.dumps(answer()).encode()

TROUBLES: list[tuple[str, bytes | None]] = [
    ("HTTP429", http("slow down", 429)),
    ("HTTP429", http("slow down", 429, Retry_After="0")),
    ("HTTP500", http({"error": {"message": "oops"}}, 500)),
    ("HTTP502", http("<html>bad gateway</html>", 502, "text/html")),
    ("HTTP503", http("", 503)),
    ("HTTP504", http("late", 504)),
    ("HTTP529", http({"error": "overloaded"}, 529)),
    ("HTTP408", http("", 408)),
    ("Disconnected", None),
    ("Disconnected", http(WHOLE[:40], length=len(WHOLE), Connection="close")),
    ("BadBody", http(WHOLE[:40])),
    ("BadBody", http("<!doctype html><title>Welcome</title>", 200, "text/html")),
    ("BadBody", http("")),
    ("BadBody", http("[" * 100_000)),
    ("NoChoices", http({"model": "r1", "choices": []})),
    ("NoChoices", http({"model": "r1"})),
    ("HTTP429", http({"error": {"code": 429, "message": "upstream is busy"}})),
    ("HTTP500", http({"error": {"message": "upstream"}})),
    ("EmptyAnswer", http(answer(content=None))),
    ("EmptyAnswer", http(answer(content="", reasoning_content=""))),
    ("EmptyAnswer", http({"model": "r1", "choices": [{"finish_reason": "stop"}]})),
    ("ErrorText", http(answer(content="Error after 6 attempts: Error code: 500 - upstream"))),
    ("ErrorText", http(answer(content='{"error": {"message": "rate limit exceeded"}}'))),
    (
        "FinishReason",
        http({"model": "r1", "choices": [{"finish_reason": "content_filter", "message": {"content": "x"}}]}),
    ),
    ("TornStream", events(PIECE, end="")),
    ("BadBody", events(PIECE, '{"model": ')),
    ("HTTP500", events(PIECE, '{"error": {"message": "the backend died"}}')),
    ("HTTP429", events('{"error": {"code": 429, "message": "busy"}}')),
]
NAMES = [f"{at}-{kind}" for at, (kind, _) in enumerate(TROUBLES)]


@pytest.mark.parametrize(("kind", "reply"), TROUBLES, ids=NAMES)
def test_trouble_that_lasts_is_one_failure_of_its_class(server: Server, kind: str, reply: bytes | None) -> None:
    server.says(reply)
    [outcome] = outcomes(engine(server))
    assert isinstance(outcome, Failure) and (outcome.error, outcome.attempts) == (kind, 3), outcome
    assert len(server.calls) == 3 and outcome.message


@pytest.mark.parametrize(("kind", "reply"), TROUBLES, ids=NAMES)
def test_trouble_that_passes_leaves_no_trace(server: Server, kind: str, reply: bytes | None) -> None:
    server.says(reply, http(answer()))
    [outcome] = outcomes(engine(server))
    assert isinstance(outcome, Completion) and outcome.answer == "It is 4." and len(server.calls) == 2


@pytest.mark.parametrize(
    "sent", [b"", http(b"", length=999), http(WHOLE[:40], length=len(WHOLE)), events(PIECE, end="")]
)
def test_a_server_that_falls_silent_is_a_timeout(server: Server, sent: bytes) -> None:
    async def stall(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await asyncio.sleep(30)

    server.handler = stall
    [outcome] = outcomes(engine(server, timeout_s=0.3, max_retries=1))
    assert isinstance(outcome, Failure) and (outcome.error, outcome.attempts) == ("Timeout", 2)


def test_an_answer_without_end_does_not_fill_the_memory(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.engines.connection.LONGEST_BODY", 1 << 20)

    async def flood(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        writer.write(http(b"", length=1 << 40))
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    server.handler = flood
    [outcome] = outcomes(engine(server, max_retries=0))
    assert isinstance(outcome, Failure) and outcome.error == "BadBody" and "longer than" in outcome.message


@pytest.mark.parametrize("status", [301, 401, 402, 403, 404])
def test_what_no_other_try_can_mend_stops_the_run_at_once(server: Server, status: int) -> None:
    async def handler(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        if n > 3:
            writer.write(http({"error": {"message": f"no, {KEY}"}}, status))
        else:
            await asyncio.sleep(0.3 if n == 3 else 0)
            writer.write(http(answer()))

    server.handler = handler
    got = []
    with pytest.raises(EngineError, match=rf"HTTP {status}: no, \*\*\*") as caught:
        for _, outcome in engine(server, concurrency=3).complete(asks(50)):
            got.append(outcome)
    assert "\n" not in str(caught.value) and len(got) == 3, "what was in flight is received before"
    assert len(server.calls) <= 6


def test_a_model_of_another_name_stops_the_run(server: Server) -> None:
    server.says(http(answer(model="deepseek-v4-flash")))
    with pytest.raises(EngineError, match="asked for the model 'r1', and the server answered with 'deepseek-v4-flash'"):
        outcomes(engine(server), 5)


def test_a_server_that_is_not_there_is_tried_for_and_named() -> None:
    lost = Server()
    lost.loop.close()
    lost.url = "http://127.0.0.1:9/v1"
    with pytest.raises(EngineError, match=r"no server answers at http://127.0.0.1:9/v1/chat/completions"):
        outcomes(engine(lost), 30)


def test_pauses_grow_and_are_not_in_step(server: Server) -> None:
    server.says(http("", 500))
    assert len(outcomes(engine(server, first_pause_s=0.1, max_retries=3), 4)) == 4
    times: dict[str, list[float]] = {}
    for body, at in server.calls:
        times.setdefault(body["messages"][0]["content"], []).append(at)
    gaps = [[later - sooner for sooner, later in itertools.pairwise(at)] for at in times.values()]
    for first, second, third in gaps:
        assert first >= 0.05 and second >= 0.1 and third >= 0.2
    assert len({round(first, 3) for first, *_ in gaps}) > 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(server: Server, form: str) -> None:
    async def later(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # in whole seconds
        writer.write(http("", 429, Retry_After="1" if form == "seconds" else date) if n == 1 else http(answer()))

    server.handler = later
    outcomes(engine(server))
    assert 0.9 <= server.calls[1][1] - server.calls[0][1] < 60


def test_a_thousand_at_once(server: Server) -> None:
    everyone = asyncio.Event()

    async def together(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        if server.now == 1000:
            everyone.set()
        if n > 64 + 256:  # the level has risen by then: hold all until a thousand are here
            await asyncio.wait_for(everyone.wait(), 60)
        writer.write(http(answer()))

    server.handler = together
    got = outcomes(engine(server, concurrency=1000, timeout_s=100), 1400)
    assert Counter(type(outcome) for outcome in got) == {Completion: 1400} and server.most == 1000


def test_signs_of_life_are_no_trouble(server: Server) -> None:
    server.says(
        http(b"\n\n   \n\n" + WHOLE),
        events(PIECE, END).replace(b"data:", b": keep-alive\n\n\n\n: OPENROUTER PROCESSING\n\ndata:"),
    )
    first, second = outcomes(engine(server, concurrency=1, stream=True), 2)
    for outcome in (first, second):
        assert isinstance(outcome, Completion) and (outcome.reasoning, outcome.answer) == ("2 and 2.", "It is 4.")
    assert server.calls[0][0]["stream"] is True and server.calls[0][0]["stream_options"] == {"include_usage": True}


def test_further_fields_are_sent_along(server: Server) -> None:
    outcomes(engine(server, extra_body={"provider": {"order": ["Parasail"]}, "top_k": 20}))
    body = server.calls[0][0]
    assert body["provider"] == {"order": ["Parasail"]} and body["top_k"] == 20 and body["model"] == "r1"


@pytest.mark.parametrize("where", ["answer", "model", "provider", "error", "text"])
def test_a_key_that_the_server_repeats_goes_nowhere(server: Server, where: str) -> None:
    replies = {
        "answer": http(answer(content=f"4, {KEY}", reasoning_content=f"so {KEY}")),
        "model": http(answer(model=f"x/{KEY}")),
        "provider": http(answer() | {"provider": KEY}),
        "error": http({"error": {"message": f"bad {KEY}"}}, 500),
        "text": http(f"<html>{KEY}</html>", 200, "text/html"),
    }
    server.says(replies[where])
    said: list[str] = []
    found = outcomes(engine(server, Watch(said.append), allow_other_model=True), 3)
    assert len(found) == 3 and KEY not in str(found) + str(said)


def test_an_outage_costs_few_problems_and_is_said(server: Server) -> None:
    down = threading.Event()

    async def handler(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.005)
        if n == 150:
            down.set()
            asyncio.get_running_loop().call_later(1.0, down.clear)
        writer.write(http("", 500) if down.is_set() else http(answer()))

    server.handler, said = handler, []
    made = engine(server, Watch(said.append), concurrency=32, max_retries=3)
    got = Counter(type(outcome) for outcome in outcomes(made, 600))
    assert got[Failure] <= 3 and got[Completion] >= 597, got
    assert any("most requests of the last minute failed (HTTP500): pausing" in line for line in said), said
    assert any("the server answers again" in line for line in said)


def test_the_level_settles_where_the_server_bears_it(server: Server) -> None:
    async def handler(body: dict[str, Any], n: int, writer: asyncio.StreamWriter) -> None:
        if server.now > 24:
            writer.write(http("", 429))
            return
        await asyncio.sleep(0.02)
        writer.write(http(answer()))

    server.handler = handler
    made = engine(server, concurrency=200, max_retries=20)
    got = outcomes(made, 1000)
    assert Counter(type(outcome) for outcome in got) == {Completion: 1000}
    refused = len(server.calls) - 1000
    assert 0 < refused < 500 and made.pace.level < 64, refused
    last = server.calls[-300:]
    assert len({body["messages"][0]["content"] for body, _ in last}) > 250, "in the end nearly every try is an answer"


@pytest.mark.parametrize("limit", [{"requests_per_minute": 1200}, {"tokens_per_minute": 12 * 1200}])
def test_limits_per_minute_are_kept(server: Server, limit: dict[str, Any]) -> None:
    began = time.monotonic()
    assert len(outcomes(engine(server, **limit), 25)) == 25
    assert time.monotonic() - began > 0.6


def test_another_try_is_asked_for(server: Server) -> None:
    server.says(http("", 500))
    asked: list[tuple[str, str]] = []

    def may_retry(request: Request, trouble: str) -> bool:
        asked.append((request.id, trouble))
        return len(asked) < 2

    [outcome] = outcomes(engine(server, Watch(may_retry=may_retry), max_retries=9))
    assert isinstance(outcome, Failure) and outcome.attempts == 2 and asked == [("p0#0", "HTTP500")] * 2


def test_a_key_that_is_a_word_is_left_in_the_answers(server: Server) -> None:
    server.says(http(answer(content="The set is EMPTY.", reasoning_content="EMPTY, so 0.")))
    section = EndpointTeacher(kind="endpoint", model="r1", base_url=server.url)
    [(_, outcome)] = EndpointEngine(section, "EMPTY").complete(asks(1))
    assert isinstance(outcome, Completion) and outcome.answer == "The set is EMPTY."
