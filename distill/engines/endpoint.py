"""Prompts to completions over any OpenAI-compatible HTTP server: takes requests, gives each one's outcome as it ends.

A plain generator that owns an event loop. The loop runs only while the generator is asked for its next outcome; what
arrives meanwhile waits in the sockets.
"""

import asyncio
import dataclasses
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from distill.engines import connection, reply
from distill.engines.pace import Pace, Try
from distill.engines.reply import Refusal, Trouble
from distill.engines.stream import Stream
from distill.errors import EngineError, MissingReasoning, Refused
from distill.records import Completion, Failure, Request, Watch, estimated_tokens
from distill.teacher_sections import EndpointTeacher

LONGEST_PAUSE_S = 60.0
TICK_S = 0.2  # how often is looked for requests that are there now and were not before
AT_ONCE = 16  # outcomes handed on before the loop runs again: measured best of 4, 8, 16 and 32
SECRET_FROM = 12  # characters; shorter keys are no secrets (EMPTY, none), and may well be words of an answer
Outcome = Completion | Failure | EngineError


class EndpointEngine:
    """An engine over a server. `first_pause_s` is the first pause before another try; each next one is twice as long.

    `answered` and `reasoned` count completions since the engine was made: a refusal, or an answer without reasoning,
    is one attempt's failure only where others went well before; otherwise it is everyone's. Where the model need not
    reason (`reasons` is False), an answer without reasoning is an answer.
    """

    def __init__(
        self,
        section: EndpointTeacher,
        api_key: str | None,
        *,
        first_pause_s: float = 1.0,
        watch: Watch | None = None,
        reasons: bool = True,
    ) -> None:
        self.section, self.first_pause_s, self.watch = section, first_pause_s, watch or Watch()
        self.answered = self.reasoned = 0
        self._served: set[str] = set()
        self.pace = Pace(section, self.watch.say, first_pause_s=first_pause_s)
        self._key, self._reasons = api_key, reasons
        self._url = f"{section.base_url}/chat/completions"
        self._host = urlsplit(section.base_url).hostname or ""

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, in the order of arrival; `requests` is read only as far as there is room in flight.

        Raises EngineError (a bad key, an unknown model, no server) and MissingReasoning; once anything was answered,
        what is in flight is still waited for and yielded before, since it is paid for.
        """
        loop = asyncio.new_event_loop()
        try:
            yield from self._stream(loop, iter(requests))
        finally:
            connection.shut(loop)

    def _stream(
        self, loop: asyncio.AbstractEventLoop, requests: Iterator[Request | None]
    ) -> Iterator[tuple[Request, Completion | Failure]]:
        session = loop.run_until_complete(connection.opened(self.section, self._key))
        ended: asyncio.Queue[tuple[Request, Outcome]] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        in_flight, over, fatal = 0, False, None
        try:
            while True:
                while not over and not fatal and in_flight < self.pace.room and not self.pace.wait_s():
                    try:
                        request = next(requests)
                    except StopIteration:
                        over = True
                        break
                    if request is None:
                        break
                    made = self.pace.started(_worst(request))
                    running.add(task := loop.create_task(self._one(session, request, made, ended)))
                    task.add_done_callback(running.discard)
                    in_flight += 1
                if not in_flight and (over or fatal):
                    break
                for request, outcome in loop.run_until_complete(_arrived(ended)):
                    in_flight -= 1
                    if isinstance(outcome, EngineError):
                        fatal, self.pace.closed = fatal or outcome, True
                    else:
                        yield request, outcome
                if fatal and not (self.answered and self.pace.on_wire):
                    break
        finally:
            loop.run_until_complete(connection.cancel_all())
            loop.run_until_complete(session.close())
        if fatal:
            raise fatal

    async def _one(
        self,
        session: aiohttp.ClientSession,
        request: Request,
        made: Try,
        ended: asyncio.Queue[tuple[Request, Outcome]],
    ) -> None:
        """One request to its end, whatever that is; nothing but a cancellation gets out of here."""
        try:
            outcome: Outcome = await self._attempts(session, request, made)
        except EngineError as error:
            outcome = self._judge(error, request)
        except Exception as error:  # told to the one who asks, never lost in a task
            outcome = EngineError(f"{type(error).__name__} while asking {self._url}: {self._hush(str(error))}")
            outcome.__cause__ = error
        if isinstance(outcome, Completion):
            self.answered += 1
            self.reasoned += bool(outcome.reasoning)
            self._alarm(outcome.model)
        ended.put_nowait((request, outcome))

    def _alarm(self, served: str) -> None:
        """Says once for each other name that answers come from another model, which only a recipe can allow."""
        asked = self.section.model
        if served not in self._served and not reply.same_model(asked, served):
            self.watch.say(f"asked for the model {asked!r}, and {served!r} answers, which the recipe allows")
        self._served.add(served)

    def _judge(self, error: EngineError, request: Request) -> Failure | EngineError:
        """A refusal or a missing reasoning is this request's alone where others went well."""
        one = (isinstance(error, Refusal) and self.answered) or (isinstance(error, MissingReasoning) and self.reasoned)
        if one:
            return Failure(request.id, type(error).__name__, self._hush(str(error)), 1)
        hushed = type(error)(self._hush(str(error)))
        hushed.__cause__ = error.__cause__
        return hushed

    async def _attempts(self, session: aiohttp.ClientSession, request: Request, made: Try) -> Completion | Failure:
        """Tries until an answer comes; the first try is on the wire already, as far as the pace knows."""
        tries = self.section.max_retries + 1
        for attempt in range(1, tries + 1):
            if attempt > 1:
                while (wait := self.pace.wait_s()) > 0:
                    await asyncio.sleep(wait * random.uniform(1.0, 1.2))
                made = self.pace.started(_worst(request))
            try:
                completion = await self._ask(session, request)
            except Trouble as trouble:
                unreached = trouble.kind == "NoServer" and not self.answered
                if not unreached:
                    self.pace.failed(made, request.id, trouble.kind, trouble.wait_s)
                if attempt == tries and unreached:
                    raise Refused(f"no server answers at {self._url}: {trouble}") from trouble
                if attempt == tries or not self.watch.may_retry(request, trouble.kind):
                    return Failure(request.id, trouble.kind, self._hush(str(trouble)), attempt)
                pause = self._pause(attempt, trouble.wait_s)
            else:
                tokens = (completion.prompt_tokens or 0) + completion.probable_tokens
                self.pace.succeeded(made, tokens)
                return completion
            finally:
                self.pace.left()
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, or growing, and never in step with the others."""
        growing = min(LONGEST_PAUSE_S, self.first_pause_s * float(2 ** (attempt - 1)))
        jitter = random.uniform(0.5, 1.0) * growing
        return jitter if asked is None else min(asked, self.section.timeout_s) + 0.1 * jitter

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> Completion:
        """One try; raises Trouble where another may go better, EngineError where it cannot."""
        try:
            body = json.dumps(self._body(request)).encode()
            async with session.post(self._url, data=body, allow_redirects=False) as answer:
                if answer.status == 200 and answer.content_type == "text/event-stream":
                    data = await self._streamed(answer)
                else:
                    said = b"".join([chunk async for chunk in connection.pieces(answer)])
                    data = reply.read(answer.status, answer.headers, said, self.section.model)
        except aiohttp.InvalidURL as error:
            raise EngineError(f"{self._url} is not an address") from error
        except TimeoutError as error:  # first: aiohttp's timeouts are connection errors too
            raise Trouble("Timeout", f"no answer within {self.section.timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise Trouble("NoServer", str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Trouble("Disconnected", f"the connection was lost ({what})") from error
        allow = self.section.allow_other_model
        completion = reply.completion(
            data, self.section.model, allow_other_model=allow, host=self._host, reasons=self._reasons
        )
        if self._key is None or len(self._key) < SECRET_FROM:
            return completion
        return dataclasses.replace(
            completion,
            reasoning=self._hush(completion.reasoning),
            answer=self._hush(completion.answer),
            model=self._hush(completion.model),
            provider=self._hush(completion.provider),
        )

    async def _streamed(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        stream = Stream()
        async for chunk in connection.pieces(answer):
            stream.feed(chunk)
        return reply.checked(stream.data(), answer.headers, self.section.model)

    def _body(self, request: Request) -> dict[str, Any]:
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if self.section.stream else {}
        return {
            **self.section.extra_body,
            "model": self.section.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
            "seed": request.seed,
            **streamed,
        }

    def _hush(self, text: str) -> str:
        """The text without the key, which servers like to repeat."""
        return text.replace(self._key, "***") if self._key else text


def _worst(request: Request) -> int:
    """How many tokens a request may be billed with, for limits per minute."""
    return estimated_tokens(request.prompt) + request.sampling.max_tokens


async def _arrived(ended: asyncio.Queue[tuple[Request, Outcome]]) -> list[tuple[Request, Outcome]]:
    """Some that ended by now, at least one unless nothing ends for a while; few at once, so that new requests go out
    between them and the server's answers do not come in bursts."""
    try:
        async with asyncio.timeout(TICK_S):
            found = [await ended.get()]
    except TimeoutError:
        return []
    while len(found) < AT_ONCE and not ended.empty():
        found.append(ended.get_nowait())
    return found
