"""Prompts to completions over any OpenAI-compatible HTTP server: takes requests, gives each one's outcome as it ends.

A plain generator that owns an event loop. The loop runs only while the generator is asked for its next outcome; what
arrives meanwhile waits in the sockets.
"""

import asyncio
import itertools
import random
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp

from distill.engines import reply
from distill.engines.reply import Refusal, Trouble
from distill.errors import EngineError, MissingReasoning
from distill.records import Completion, Failure, Request
from distill.sections import EndpointTeacher

LONGEST_PAUSE_S = 60.0
Outcome = Completion | Failure | EngineError


class EndpointEngine:
    """An engine over a server. `first_pause_s` is the first pause before another try; each next one is twice as long.

    `answered` and `reasoned` count completions since the engine was made: a refusal, or an answer without reasoning,
    is one attempt's failure only where others went well before; otherwise it is everyone's.
    """

    def __init__(self, section: EndpointTeacher, api_key: str | None, *, first_pause_s: float = 1.0) -> None:
        self.section, self.first_pause_s = section, first_pause_s
        self.answered = self.reasoned = 0
        self._key = api_key
        self._url = f"{section.base_url}/chat/completions"

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, in the order of arrival; `requests` is read only as far as there is room in flight.

        Raises EngineError (a bad key, an unknown model, no server) and MissingReasoning; once anything was answered,
        what is in flight is still waited for and yielded before, since it is paid for.
        """
        loop = asyncio.new_event_loop()
        try:
            yield from self._stream(loop, iter(requests))
        finally:
            _shut(loop)

    def _stream(
        self, loop: asyncio.AbstractEventLoop, requests: Iterator[Request]
    ) -> Iterator[tuple[Request, Completion | Failure]]:
        session = loop.run_until_complete(self._open())
        ended: asyncio.Queue[tuple[Request, Outcome]] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        in_flight, fatal = 0, None
        try:
            while True:
                room = 0 if fatal else self.section.concurrency - in_flight
                for request in itertools.islice(requests, room):
                    running.add(task := loop.create_task(self._one(session, request, ended)))
                    task.add_done_callback(running.discard)
                    in_flight += 1
                if not in_flight:
                    break
                request, outcome = loop.run_until_complete(ended.get())
                in_flight -= 1
                if isinstance(outcome, EngineError):
                    fatal = fatal or outcome
                    if not self.answered:
                        break
                else:
                    yield request, outcome
        finally:
            loop.run_until_complete(_cancel())
            loop.run_until_complete(session.close())
        if fatal:
            raise fatal

    async def _open(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self.section.timeout_s, sock_connect=min(60, self.section.timeout_s)),
            connector=aiohttp.TCPConnector(limit=0, socket_factory=_socket),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            trust_env=True,
        )

    async def _one(
        self, session: aiohttp.ClientSession, request: Request, ended: asyncio.Queue[tuple[Request, Outcome]]
    ) -> None:
        """One request to its end, whatever that is; nothing but a cancellation gets out of here."""
        try:
            outcome: Outcome = await self._attempts(session, request)
        except EngineError as error:
            outcome = self._judge(error, request)
        except Exception as error:  # told to the one who asks, never lost in a task
            outcome = EngineError(f"{type(error).__name__} while asking {self._url}: {self._hush(str(error))}")
            outcome.__cause__ = error
        if isinstance(outcome, Completion):
            self.answered += 1
            self.reasoned += bool(outcome.reasoning)
        ended.put_nowait((request, outcome))

    def _judge(self, error: EngineError, request: Request) -> Failure | EngineError:
        """A refusal or a missing reasoning is this request's alone where others went well."""
        one = (isinstance(error, Refusal) and self.answered) or (isinstance(error, MissingReasoning) and self.reasoned)
        return Failure(request.id, type(error).__name__, self._hush(str(error)), 1) if one else error

    async def _attempts(self, session: aiohttp.ClientSession, request: Request) -> Completion | Failure:
        tries = self.section.max_retries + 1
        for attempt in range(1, tries + 1):
            try:
                return await self._ask(session, request)
            except Trouble as trouble:
                if attempt == tries:
                    if trouble.kind == "NoServer":
                        raise EngineError(f"no server answers at {self._url}: {trouble}") from trouble
                    return Failure(request.id, trouble.kind, self._hush(str(trouble)), attempt)
                await asyncio.sleep(self._pause(attempt, trouble.wait_s))
        raise AssertionError("the last try returns or raises")

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, or growing, and never in step with the others."""
        growing = min(LONGEST_PAUSE_S, self.first_pause_s * float(2 ** (attempt - 1)))
        jitter = random.uniform(0.5, 1.0) * growing
        return jitter if asked is None else min(asked, self.section.timeout_s) + 0.1 * jitter

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> Completion:
        """One try; raises Trouble where another may go better, EngineError where it cannot."""
        try:
            async with session.post(self._url, json=self._body(request), allow_redirects=False) as answer:
                status, headers, body = answer.status, answer.headers, await answer.read()
        except aiohttp.InvalidURL as error:
            raise EngineError(f"{self._url} is not an address") from error
        except TimeoutError as error:  # first: aiohttp's timeouts are connection errors too
            raise Trouble("Timeout", f"no answer within {self.section.timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise Trouble("NoServer", self._hush(str(error))) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Trouble(type(error).__name__, str(error) or "the connection was lost") from error
        try:
            data = reply.read(status, headers, body, self.section.model)
            return reply.completion(data, self.section.model, allow_other_model=self.section.allow_other_model)
        except EngineError as error:
            raise type(error)(self._hush(str(error))) from error

    def _body(self, request: Request) -> dict[str, Any]:
        return {
            "model": self.section.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
            "seed": request.seed,
        }

    def _hush(self, text: str) -> str:
        """The text without the key, which servers like to repeat."""
        return text.replace(self._key, "***") if self._key else text


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that shows signs of life: a teacher thinks for minutes, and routers drop connections that are still."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    return made


async def _cancel() -> None:
    """Cancels all else that the loop runs and waits until it is gone."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def _shut(loop: asyncio.AbstractEventLoop) -> None:
    """Closes a loop and the threads that it may have started to look names up."""
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
