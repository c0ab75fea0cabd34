"""Anything asked of an OpenAI-compatible server: takes requests, gives each one's outcome as it ends.

What is asked and how its answer is read is a subclass's: chat completions (`distill.engines.endpoint`), or a teacher's
distributions over a text (`teachers.prompt_logprobs`). A plain generator that owns an event loop. The loop runs only
while the generator is asked for its next outcome; what arrives meanwhile waits in the sockets.
"""

import asyncio
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from distill.engines import connection, reply
from distill.engines.pace import Pace, Try
from distill.engines.reply import Refusal, Trouble
from distill.errors import EngineError, Refused
from distill.records import Failure
from distill.teacher_sections import EndpointTeacher

LONGEST_PAUSE_S = 60.0
TICK_S = 0.2  # how often is looked for requests that are there now and were not before
AT_ONCE = 16  # outcomes handed on before the loop runs again: measured best of 4, 8, 16 and 32


class Named(Protocol):
    """What is asked: it has an id."""

    @property
    def id(self) -> str: ...


Q = TypeVar("Q", bound=Named)
A = TypeVar("A")


class Asker(ABC, Generic[Q, A]):
    """Asks a server at `path`. `first_pause_s` is the first pause before another try; each next one is twice as long.

    `answered` counts answers since it was made: a refusal is one request's failure only where others went well before;
    otherwise it is everyone's.
    """

    def __init__(
        self,
        section: EndpointTeacher,
        api_key: str | None,
        path: str,
        *,
        first_pause_s: float = 1.0,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.section, self.first_pause_s, self.say = section, first_pause_s, say
        self.answered = 0
        self.pace = Pace(section, say, first_pause_s=first_pause_s)
        self._key = api_key
        self._url = f"{section.base_url}/{path}"

    @abstractmethod
    def body(self, request: Q) -> dict[str, Any]:
        """What is sent."""

    @abstractmethod
    def read(self, request: Q, data: dict[str, Any]) -> A:
        """An answer out of a body with at least one choice; raises Trouble where another try may go better."""

    @abstractmethod
    def worst(self, request: Q) -> int:
        """How many tokens a request may be billed with, for limits per minute."""

    @abstractmethod
    def billed(self, request: Q, answer: A) -> int:
        """How many tokens it was billed with."""

    def took(self, answer: A) -> None:
        """Told of every answer."""
        self.answered += 1

    def may_retry(self, request: Q, trouble: str) -> bool:
        """Asked, with the kind of trouble, before a request is tried again."""
        return True

    def weight(self, request: Q) -> float:
        """The share that its answer may take of the memory there is for answers: together they never take more than
        all of it, and a heavier one is asked for alone."""
        return 0.0

    def ask(self, requests: Iterable[Q | None]) -> Generator[tuple[Q, A | Failure], None, None]:
        """Every request once, in the order of arrival; `requests` is read only as far as there is room in flight.

        Raises EngineError (a bad key, an unknown model, no server); once anything was answered, what is in flight is
        still waited for and yielded before, since it is paid for.
        """
        loop = asyncio.new_event_loop()
        try:
            yield from self._stream(loop, iter(requests))
        finally:
            connection.shut(loop)

    def _stream(self, loop: asyncio.AbstractEventLoop, requests: Iterator[Q | None]) -> Iterator[tuple[Q, A | Failure]]:
        session = loop.run_until_complete(connection.opened(self.section, self._key))
        ended: asyncio.Queue[tuple[Q, A | Failure | EngineError]] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        held: Q | None = None  # waits until there is memory for its answer
        in_flight, weights, over, fatal = 0, 0.0, False, None
        try:
            while True:
                while not over and not fatal and in_flight < self.pace.room and not self.pace.wait_s():
                    try:
                        request = next(requests) if held is None else held
                    except StopIteration:
                        over = True
                        break
                    held = request if request is not None and in_flight and weights + self.weight(request) > 1 else None
                    if request is None or held is not None:
                        break
                    made = self.pace.started(self.worst(request))
                    running.add(task := loop.create_task(self._one(session, request, made, ended)))
                    task.add_done_callback(running.discard)
                    in_flight, weights = in_flight + 1, weights + self.weight(request)
                if not in_flight and (over or fatal):
                    break
                for request, outcome in loop.run_until_complete(_arrived(ended)):
                    in_flight, weights = in_flight - 1, weights - self.weight(request)
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
        request: Q,
        made: Try,
        ended: asyncio.Queue[tuple[Q, A | Failure | EngineError]],
    ) -> None:
        """One request to its end, whatever that is; nothing but a cancellation gets out of here."""
        outcome: A | Failure | EngineError
        try:
            outcome = await self._attempts(session, request, made)
        except EngineError as error:
            outcome = self._judge(error, request)
        except Exception as error:  # told to the one who asks, never lost in a task
            outcome = EngineError(f"{type(error).__name__} while asking {self._url}: {self.hush(str(error))}")
            outcome.__cause__ = error
        ended.put_nowait((request, outcome))

    def is_ones_own(self, error: EngineError) -> bool:
        """Whether an error is one request's alone: a refusal where others went well."""
        return isinstance(error, Refusal) and self.answered > 0

    def explained(self, error: EngineError) -> EngineError:
        """An error that is everyone's as people are told it."""
        return error

    def _judge(self, error: EngineError, request: Q) -> Failure | EngineError:
        if self.is_ones_own(error):
            return Failure(request.id, type(error).__name__, self.hush(str(error)), 1)
        told = self.explained(error)
        hushed = type(told)(self.hush(str(told)))
        hushed.__cause__ = error.__cause__
        return hushed

    async def _attempts(self, session: aiohttp.ClientSession, request: Q, made: Try) -> A | Failure:
        """Tries until an answer comes; the first try is on the wire already, as far as the pace knows."""
        tries = self.section.max_retries + 1
        for attempt in range(1, tries + 1):
            if attempt > 1:
                while (wait := self.pace.wait_s()) > 0:
                    await asyncio.sleep(wait * random.uniform(1.0, 1.2))
                made = self.pace.started(self.worst(request))
            try:
                answer = self.read(request, await self._fetch(session, request))
            except Trouble as trouble:
                unreached = trouble.kind == "NoServer" and not self.answered
                if not unreached:
                    self.pace.failed(made, request.id, trouble.kind, trouble.wait_s)
                if attempt == tries and unreached:
                    raise Refused(f"no server answers at {self._url}: {trouble}") from trouble
                if attempt == tries or not self.may_retry(request, trouble.kind):
                    return Failure(request.id, trouble.kind, self.hush(str(trouble)), attempt)
                pause = self._pause(attempt, trouble.wait_s)
            else:
                self.pace.succeeded(made, self.billed(request, answer))
                self.took(answer)
                return answer
            finally:
                self.pace.left()
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: what the server asked for, or growing, and never in step with the others."""
        growing = min(LONGEST_PAUSE_S, self.first_pause_s * float(2 ** (attempt - 1)))
        jitter = random.uniform(0.5, 1.0) * growing
        return jitter if asked is None else min(asked, self.section.timeout_s) + 0.1 * jitter

    async def _fetch(self, session: aiohttp.ClientSession, request: Q) -> dict[str, Any]:
        """One try's body; raises Trouble where another may go better, EngineError where it cannot."""
        try:
            body = json.dumps(self.body(request)).encode()
            async with session.post(self._url, data=body, allow_redirects=False) as answer:
                return await self.received(answer)
        except aiohttp.InvalidURL as error:
            raise EngineError(f"{self._url} is not an address") from error
        except TimeoutError as error:  # first: aiohttp's timeouts are connection errors too
            raise Trouble("Timeout", f"no answer within {self.section.timeout_s:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise Trouble("NoServer", str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise Trouble("Disconnected", f"the connection was lost ({what})") from error

    async def received(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        """The body as data with at least one choice."""
        said = b"".join([chunk async for chunk in connection.pieces(answer)])
        return reply.read(answer.status, answer.headers, said, self.section.model)

    def hush(self, text: str) -> str:
        """The text without the key, which servers like to repeat."""
        return text.replace(self._key, "***") if self._key else text


async def _arrived(
    ended: "asyncio.Queue[tuple[Q, A | Failure | EngineError]]",
) -> list[tuple[Q, A | Failure | EngineError]]:
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
