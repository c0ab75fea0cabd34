"""The judge as a recipe connects it: its section, a plain model over loopback HTTP, and a model of this machine."""

import asyncio
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from distill import engines
from distill.curate.judge import Asked, Panel, connect, verdict
from distill.curate_sections import Curate, Judge
from distill.engines.scripted import ScriptedEngine
from distill.errors import DistillError, EngineError, InputError
from distill.records import Judgement, Problem

ENGINE = {"kind": "endpoint", "model": "judge-7b", "base_url": "http://127.0.0.1:9/v1"}
SUM = Problem.of("What is 2 + 2?", "4", "text", "hand")
RIGHT = "They agree.\n\nVERDICT: RIGHT"


def section(**settings: Any) -> Judge:
    return Judge.model_validate({"engine": ENGINE} | settings)


def asks(count: int) -> list[Asked]:
    return [Asked(f"p#{at}", SUM, f"It is {at}.") for at in range(count)]


def shown(prompt: str) -> str:
    """The answer that a prompt is about."""
    [answer] = re.findall(r"^===== ANSWER (\w{16}) =====\n(.*)\n===== END OF ANSWER \1 =====$", prompt, re.M | re.S)
    return str(answer[1])


# ---- the recipe's section


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"engine": ENGINE | {"sampling": {"temperature": 0.1}}}, "engine.sampling is for .* write `sampling` beside"),
        ({"engine": ENGINE | {"budget": {"max_tokens": 5}}}, "engine.budget is for .* write max_answers beside"),
        ({"engine": ENGINE | {"max_per_problem": 4}}, "engine.max_per_problem is for .* write votes beside"),
        ({"engine": ENGINE | {"max_per_problem": 4, "keep_per_problem": 1}}, "engine.max_per_problem"),
        ({"engine": ENGINE | {"keep_per_problem": 1}}, "engine.keep_per_problem"),
        ({"engine": ENGINE | {"grace_s": 5}}, "engine.grace_s"),
        ({"engine": {"kind": "local", "model": "m", "max_per_problem": 3}}, "engine.max_per_problem"),
        ({"engine": {"kind": "scripted"}}, "kind"),
        ({"votes": 0}, "votes"),
        ({"max_answers": 0}, "max_answers"),
        ({"combine": "both"}, "combine"),
        ({"votes": 3, "sampling": {"temperature": 0}}, "votes: 3 at temperature: 0 are one vote, cast 3 times; write"),
    ],
)
def test_what_makes_no_sense_for_a_judge_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        section(**settings)


def test_a_resolved_section_can_be_read_again() -> None:
    """With every default written out, as recipe.json has them."""
    for engine in (ENGINE | {"seed": 4, "extra_body": {"a": 1}}, {"kind": "local", "model": "m"}):
        made = Curate(judge=section(engine=engine, votes=3))
        assert Curate.model_validate(made.model_dump(mode="json")) == made


def test_connect_wants_the_key_and_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A_JUDGES_KEY", raising=False)
    with pytest.raises(InputError, match=r"^curate\.judge\.engine\.api_key_env: .*A_JUDGES_KEY is not set"):
        connect(section(engine=ENGINE | {"api_key_env": "A_JUDGES_KEY"}), tmp_path / "votes")
    with pytest.raises(InputError, match=r"^curate\.judge\.engine\.model: there is no model folder"):
        connect(section(engine={"kind": "local", "model": str(tmp_path)}), tmp_path / "votes")


# ---- over loopback HTTP


class Server:
    """A plain model, without any reasoning, behind HTTP: answers the n-th call with `script(prompt, seed, n)`."""

    def __init__(self, script: Callable[[str, int, int], Any]) -> None:
        self.script, self.calls = script, 0
        self.loop = asyncio.new_event_loop()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls += 1
        said = self.script(body["messages"][0]["content"], body["seed"], self.calls)
        if not isinstance(said, str):
            return said  # type: ignore[no-any-return]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
        usage = {"prompt_tokens": 500, "completion_tokens": 9}
        return web.json_response({"model": "judge-7b", "choices": [choice], "usage": usage})

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.handle)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    def __enter__(self) -> "Server":
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self.start(), self.loop).result(60)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def panel(self, cache: Path, engine: dict[str, Any] | None = None, **settings: Any) -> Panel:
        setting = ENGINE | {"base_url": self.url, "max_retries": 0, "timeout_s": 60} | (engine or {})
        return connect(section(engine=setting, **settings), cache)


def test_a_plain_model_votes_over_http(tmp_path: Path) -> None:
    def script(prompt: str, seed: int, n: int) -> str:
        number = int(shown(prompt).split()[-1].rstrip("."))
        return RIGHT if number % 3 == 0 or seed == 2 else "**VERDICT: WRONG**"

    with Server(script) as server:
        panel = server.panel(tmp_path / "votes", votes=3)
        rulings = dict(panel(asks(100)))
        assert server.calls == 300
        assert {name for name, ruling in rulings.items() if ruling.right} == {f"p#{at}" for at in range(0, 100, 3)}
        assert all(ruling.right is not None for ruling in rulings.values()) and len(rulings) == 100
        assert (panel.facts["prompt_tokens"], panel.facts["completion_tokens"]) == (150_000, 2_700)
        assert dict(server.panel(tmp_path / "votes", votes=3)(asks(100))) == rulings and server.calls == 300


def test_a_server_that_fails_now_and_then_fails_those_votes_alone(tmp_path: Path) -> None:
    def script(prompt: str, seed: int, n: int) -> Any:
        match shown(prompt):
            case "It is 1.":
                return web.Response(status=500, text="oops")
            case "It is 2.":
                return "lorem ipsum"
            case "It is 3.":
                return web.Response(status=400, text="too rude")
            case "It is 4.":
                return "Its answer is an error: internal server error, error code: 500.\nVERDICT: WRONG"
            case "It is 5.":
                return web.Response(text='{"choices": [{"mess', content_type="application/json")
        return RIGHT

    with Server(script) as server:
        panel = server.panel(tmp_path / "votes", {"concurrency": 1})
        rulings = dict(panel(asks(8)))
        assert [rulings[f"p#{at}"].right for at in range(8)] == [True, None, None, None, False, None, True, True]
        wanted = {1: "HTTP500: HTTP 500: oops", 2: "no line that says", 3: "too rude", 5: "BadBody"}
        for at, part in wanted.items():
            assert part in rulings[f"p#{at}"].detail
            assert verdict("undecided", Judgement(None), rulings[f"p#{at}"]).reason == "judge_failed"  # type: ignore[union-attr]
        server.script = lambda prompt, seed, n: RIGHT
        before = server.calls
        again = dict(server.panel(tmp_path / "votes")(asks(8)))
        assert server.calls == before + 4
        assert [ruling.right for ruling in again.values()].count(True) == 7


def test_a_reply_over_the_limit_and_an_empty_one_are_failed_votes(tmp_path: Path) -> None:
    def cut(content: str, finish: str) -> web.Response:
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
        return web.json_response({"model": "judge-7b", "choices": [choice]})

    replies = [RIGHT, cut("I think VERDICT: RIGHT\nVERDICT: RIGHT", "length"), cut("", "stop")]
    with Server(lambda prompt, seed, n: replies[seed]) as server:
        [ruling] = dict(server.panel(tmp_path / "votes", votes=3)(asks(1))).values()
    assert ruling.right is None and "1 right, 2 failed of 3 votes" in ruling.detail


def test_a_bad_key_and_a_dead_server_end_the_stage_with_a_sentence(tmp_path: Path) -> None:
    with Server(lambda prompt, seed, n: web.Response(status=401, text="who are you")) as server:
        with pytest.raises(EngineError, match="HTTP 401: who are you"):
            dict(server.panel(tmp_path / "votes")(asks(5)))
        dead = server.panel(tmp_path / "votes")
    with pytest.raises(EngineError, match="no server answers at http://127"):
        dict(dead(asks(5)))


# ---- a model on this machine


def test_a_local_model_that_is_no_judge_is_given_up(tmp_path: Path) -> None:
    """The bundled teacher has 1,024 tokens of context; a short prompt makes it answer at all."""
    own = tmp_path / "own.md"
    own.write_text("$question $reference $answer VERDICT: RIGHT VERDICT: WRONG")
    setting = {"kind": "local", "model": "bundled:teacher", "batch_size": 16}
    panel = connect(section(engine=setting, prompt=str(own), sampling={"max_tokens": 4}), tmp_path / "votes")
    with pytest.raises(DistillError, match="the judge bundled:teacher gave 20 votes, and none is valid; the first one"):
        dict(panel(asks(40)))


def test_a_local_model_is_not_loaded_where_the_cache_has_every_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, setting = [], {"kind": "local", "model": "bundled:teacher"}

    def scripted(engine: Any, watch: Any = None, *, reasons: bool = True) -> ScriptedEngine:
        assert not reasons
        made.append(engine)
        return ScriptedEngine(lambda request: RIGHT)

    monkeypatch.setattr(engines, "connect", scripted)
    for _ in range(2):
        assert len(dict(connect(section(engine=setting), tmp_path / "votes")(asks(3)))) == 3
    assert len(made) == 1
