"""The endpoint engine against a real server on this machine that fails as it is told to."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from distill import engines
from distill.engines.endpoint import EndpointEngine
from distill.engines.reply import retry_after, same_model
from distill.errors import EngineError, InputError, MissingReasoning
from distill.records import Completion, Failure, Request, Sampling, Watch
from distill.teacher_sections import EndpointTeacher

Script = Callable[[dict[str, Any], int], Any]
KEY = "sk-very-secret"


def good(model: str = "deepseek/r1", finish: str = "stop", **message: Any) -> dict[str, Any]:
    message = message or {"content": "It is 4.", "reasoning_content": "2 and 2."}
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    return {"model": model, "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


class Server:
    """Answers the n-th call with `script(body, n)`: data, a web.Response, or None to cut the connection."""

    def __init__(self) -> None:
        self.script: Script = lambda body, n: good()
        self.calls: list[tuple[dict[str, Any], float, str]] = []
        self.now = self.most = self.cut = 0
        self.delay: Callable[[dict[str, Any]], float] = lambda body: 0.0
        self.loop = asyncio.new_event_loop()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append((body, time.monotonic(), request.headers.get("Authorization", "")))
        n = len(self.calls)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.delay(body))
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.now -= 1
        answer = self.script(body, n)
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(made.start(), made.loop).result(60)
    yield made
    asyncio.run_coroutine_threadsafe(made.runner.cleanup(), made.loop).result(60)
    made.loop.call_soon_threadsafe(made.loop.stop)
    thread.join()
    made.loop.close()


def engine(server: Server, key: str | None = KEY, **settings: Any) -> EndpointEngine:
    settings = {"model": "deepseek/r1", "base_url": server.url, "max_retries": 3, "timeout_s": 60} | settings
    return EndpointEngine(EndpointTeacher(kind="endpoint", **settings), key, first_pause_s=0.01)


def asks(count: int) -> list[Request]:
    return [Request(f"p{at}#3", f"prompt {at}", 3, Sampling(0.5, 0.9, 100)) for at in range(count)]


def only(made: EndpointEngine) -> Completion | Failure:
    [(_, outcome)] = made.complete(asks(1))
    return outcome


def test_request_and_completion(server: Server) -> None:
    assert only(engine(server)) == Completion("2 and 2.", "It is 4.", "stop", 5, 7, "deepseek/r1", provider="127.0.0.1")
    body, _, header = server.calls[0]
    messages = [{"role": "user", "content": "prompt 0"}]
    wanted = {"model": "deepseek/r1", "temperature": 0.5, "top_p": 0.9, "max_tokens": 100, "seed": 3}
    assert body == wanted | {"messages": messages} and header == f"Bearer {KEY}"


def test_without_a_key_no_header_is_sent(server: Server) -> None:
    only(engine(server, key=None))
    assert server.calls[0][2] == ""


@pytest.mark.parametrize(
    "bad",
    [
        429,
        500,
        503,
        408,
        None,
        "<html>gateway</html>",
        '{"choices": [{"mess',
        {"choices": []},
        {"error": {"code": 429, "message": "slow down"}},
        {"model": "deepseek/r1", "choices": [{"finish_reason": "stop", "message": {"content": None}}]},
        {"model": "deepseek/r1", "choices": [{"finish_reason": "error", "message": {"content": "ha"}}]},
    ],
)
def test_passing_trouble_is_tried_again(server: Server, bad: Any) -> None:
    def answer() -> Any:
        if isinstance(bad, int):
            return web.Response(status=bad, text="busy")
        return web.Response(text=bad, content_type="text/html") if isinstance(bad, str) else bad

    server.script = lambda body, n: answer() if n < 3 else good()
    assert isinstance(only(engine(server)), Completion) and len(server.calls) == 3


def test_lasting_trouble_is_one_failure_record(server: Server) -> None:
    server.script = lambda body, n: (
        web.Response(status=503, text="full") if body["messages"][0]["content"] == "prompt 1" else good()
    )
    outcomes = {request.id: outcome for request, outcome in engine(server, max_retries=2).complete(asks(3))}
    assert outcomes["p1#3"] == Failure("p1#3", "HTTP503", "HTTP 503: full", 3)
    assert isinstance(outcomes["p0#3"], Completion) and isinstance(outcomes["p2#3"], Completion)


def test_timeout_is_a_failure(server: Server) -> None:
    server.delay = lambda body: 5.0
    outcome = only(engine(server, timeout_s=0.1, max_retries=1))
    assert isinstance(outcome, Failure) and (outcome.error, outcome.attempts) == ("Timeout", 2)


def test_retry_after_is_honoured(server: Server) -> None:
    server.script = lambda body, n: web.Response(status=429, headers={"Retry-After": "1"}) if n == 1 else good()
    only(engine(server))
    assert 1.0 <= server.calls[1][1] - server.calls[0][1] < 2.0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"Retry-After": "soon"}) is None and retry_after({}) is None


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 422])
def test_refusals_stop_at_once_and_never_show_the_key(server: Server, status: int) -> None:
    text = json.dumps({"error": {"message": f"no good: {KEY}"}})
    server.script = lambda body, n: web.Response(status=status, text=text)
    with pytest.raises(EngineError, match=f"HTTP {status}: no good: \\*\\*\\*") as caught:
        only(engine(server))
    assert len(server.calls) == 1 and KEY not in str(caught.value)


def test_a_refusal_after_answers_is_that_requests_own(server: Server) -> None:
    server.script = lambda body, n: web.Response(status=400, text="context length exceeded") if n == 2 else good()
    outcomes = [outcome for _, outcome in engine(server, concurrency=1).complete(asks(3))]
    assert isinstance(outcomes[1], Failure) and outcomes[1].error == "Refusal" and isinstance(outcomes[2], Completion)


def test_what_is_in_flight_is_received_before_the_error(server: Server) -> None:
    server.delay = lambda body: {"prompt 0": 0.0, "prompt 1": 0.1}.get(body["messages"][0]["content"], 0.4)
    server.script = lambda body, n: (
        web.Response(status=402, text="pay") if body["messages"][0]["content"] == "prompt 1" else good()
    )
    got = []
    with pytest.raises(EngineError, match="402"):
        for request, _ in engine(server, concurrency=3).complete(asks(20)):
            got.append(request.id)
    assert got[0] == "p0#3" and "p2#3" in got and len(server.calls) == 4


def test_no_server() -> None:
    lost = Server()
    lost.loop.close()
    lost.url = "http://127.0.0.1:9/v1"
    with pytest.raises(EngineError, match=r"no server answers at http://127.0.0.1:9/v1"):
        only(engine(lost, max_retries=1))


def test_missing_reasoning_names_the_fields(server: Server) -> None:
    server.script = lambda body, n: good(content="4", thoughts="hidden")
    with pytest.raises(MissingReasoning, match=r"content, role, thoughts.*reasoning_content.*<think>"):
        only(engine(server))


def test_one_answer_without_reasoning_among_others_is_a_failure(server: Server) -> None:
    server.script = lambda body, n: good(content="4") if n == 2 else good()
    outcomes = [outcome for _, outcome in engine(server, concurrency=1).complete(asks(3))]
    assert [type(outcome) for outcome in outcomes] == [Completion, Failure, Completion]


@pytest.mark.parametrize("message", [{"content": None, "reasoning": "so far"}, {"content": "so far"}])
def test_cut_off_reasoning_is_a_completion(server: Server, message: dict[str, Any]) -> None:
    server.script = lambda body, n: good(finish="length", **message)
    outcome = only(engine(server))
    assert isinstance(outcome, Completion) and outcome.unfinished
    assert (outcome.reasoning, outcome.answer, outcome.finish) == ("so far", "", "length")


def test_empty_thinking_in_tags_is_no_missing_reasoning(server: Server) -> None:
    server.script = lambda body, n: good(content="<think>\n\n</think>\n\n4")
    outcome = only(engine(server))
    assert isinstance(outcome, Completion) and (outcome.reasoning, outcome.answer) == ("", "4")


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_need_not_reason_only_answers(server: Server, stream: bool) -> None:
    section = EndpointTeacher(kind="endpoint", model="deepseek/r1", base_url=server.url, stream=stream)
    plain = EndpointEngine(section, KEY, reasons=False)
    replies: list[tuple[dict[str, Any], tuple[str, str]]] = [
        ({"content": "4"}, ("", "4")),
        ({"content": "4", "reasoning_content": "2 and 2"}, ("2 and 2", "4")),
        ({"content": "<think>2 and 2</think>4"}, ("2 and 2", "4")),
        (
            {"content": "The answer is an error: internal server error."},
            ("", "The answer is an error: internal server error."),
        ),
    ]
    for message, wanted in replies:
        server.script = lambda body, n, message=message: good(**message)  # type: ignore[misc]
        outcome = only(plain)
        assert isinstance(outcome, Completion) and (outcome.reasoning, outcome.answer) == wanted
        assert not outcome.unfinished
    server.script = lambda body, n: good(finish="length", content="It is")
    outcome = only(plain)
    assert (
        isinstance(outcome, Completion) and outcome.unfinished and (outcome.reasoning, outcome.answer) == ("", "It is")
    )


def test_a_plain_models_error_page_and_empty_answer_are_still_trouble(server: Server) -> None:
    section = EndpointTeacher(kind="endpoint", model="deepseek/r1", base_url=server.url, max_retries=0)
    for text, error in (("Error code: 500 - oops", "ErrorText"), ("", "EmptyAnswer")):
        server.script = lambda body, n, text=text: good(content=text)  # type: ignore[misc]
        outcome = only(EndpointEngine(section, KEY, reasons=False))
        assert isinstance(outcome, Failure) and outcome.error == error


def test_connect_hands_on_whether_a_model_must_reason(server: Server) -> None:
    server.script = lambda body, n: good(content="4")
    section = EndpointTeacher(kind="endpoint", model="deepseek/r1", base_url=server.url)
    [(_, outcome)] = engines.connect(section, reasons=False).complete(asks(1))
    assert isinstance(outcome, Completion) and outcome.answer == "4"
    with pytest.raises(MissingReasoning):
        list(engines.connect(section).complete(asks(1)))


def test_counts_of_zero_are_unknown_and_lone_surrogates_go(server: Server) -> None:
    text = json.dumps(good(content="a\ud83d", reasoning="b") | {"usage": {"prompt_tokens": 0}})
    server.script = lambda body, n: web.Response(text=text)
    outcome = only(engine(server))
    assert isinstance(outcome, Completion) and outcome.answer.encode()
    assert (outcome.prompt_tokens, outcome.completion_tokens) == (None, None)


def test_another_model_is_an_error_unless_allowed(server: Server) -> None:
    server.script = lambda body, n: good(model="deepseek-v3.2")
    with pytest.raises(EngineError, match=r"answered with 'deepseek-v3.2'"):
        only(engine(server))
    said: list[str] = []
    section = EndpointTeacher(kind="endpoint", model="deepseek/r1", base_url=server.url, allow_other_model=True)
    outcomes = [outcome for _, outcome in EndpointEngine(section, KEY, watch=Watch(said.append)).complete(asks(3))]
    assert all(isinstance(outcome, Completion) and outcome.model == "deepseek-v3.2" for outcome in outcomes)
    assert said == ["asked for the model 'deepseek/r1', and 'deepseek-v3.2' answers, which the recipe allows"]


def test_which_names_are_one_model() -> None:
    assert same_model("deepseek-ai/DeepSeek-R1", "deepseek-r1")
    assert same_model("deepseek/deepseek-r1-0528", "deepseek/deepseek-r1-0528:free")
    assert not same_model("deepseek-r1", "deepseek-r1-0528") and not same_model("r1", "deepseek-r1")


def test_concurrency_is_bounded_and_requests_are_read_lazily(server: Server) -> None:
    server.delay = lambda body: 0.02
    read = []

    def lazily() -> Iterator[Request]:
        for request in asks(30):
            read.append(request.id)
            yield request

    stream = engine(server, concurrency=4).complete(lazily())
    next(stream)
    assert len(read) <= 5
    assert len(list(stream)) == 29 and server.most == 4


def test_results_come_in_order_of_arrival_and_closing_cancels(server: Server) -> None:
    server.delay = lambda body: 0.0 if body["messages"][0]["content"] == "prompt 2" else 30.0
    threads = threading.active_count()
    stream = engine(server, timeout_s=60).complete(asks(3))
    assert next(stream)[0].id == "p2#3"
    stream.close()  # type: ignore[attr-defined]
    end = time.monotonic() + 60
    while server.cut < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert server.cut == 2 and threading.active_count() == threads


def test_connect_wants_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    section = EndpointTeacher(kind="endpoint", model="m", base_url="http://x/v1", api_key_env="A_KEY_NOT_SET")
    with pytest.raises(InputError, match="A_KEY_NOT_SET"):
        engines.connect(section)
    monkeypatch.setenv("A_KEY_NOT_SET", KEY)
    assert isinstance(engines.connect(section), EndpointEngine)
