"""How fast a server is asked: takes what became of each try, says how many may be on the wire and how long to wait.

The level rises while answers come and halves on overload (AIMD: Chiu and Jain, 1989), as TCP does, slow start included.
Above it stand the host's own limits per minute, the pauses that it asks for, and a pause when most tries fail.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from distill.errors import EngineError
from distill.teacher_sections import EndpointTeacher

START = 64  # tries on the wire before anything is known
GAIN = 3  # by how much each answer raises the level before the first overload: it quadruples with every round
OVERLOAD = ("HTTP429", "HTTP503", "HTTP529")
WINDOW_S = 60.0
WINDOW_TRIES = 2000  # and no more than the last so many
FEWEST_TRIES = 10  # ended in the window, before "most of them failed" means anything
FEWEST_REQUESTS = 5  # that failed: one request that no server takes is not an outage
LONGEST_PROBE_S = 60.0
POLL_S = 0.05
SAID_FROM_S = 10.0  # shorter waits are nobody's concern
CLOSED_S = 3600.0


class Try(NamedTuple):
    """A try on the wire: when it started, and the tokens that were set aside for it."""

    at: float
    tokens: float


class Bucket:
    """So many units a minute, evenly, with one second's worth saved up at most; what is taken may put it in debt."""

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_s, self.balance, self.at = per_minute / 60, 0.0, now

    def wait_s(self, now: float) -> float:
        """Seconds until it is out of debt."""
        self.balance = min(self.per_s, self.balance + (now - self.at) * self.per_s)
        self.at = now
        return max(0.0, -self.balance / self.per_s)

    def take(self, units: float) -> None:
        """Takes units out, or puts them back where they are negative."""
        self.balance -= units


class Pace:
    """Tells when the next try may start. `first_pause_s` scales the pauses of an outage: 5 times that, then doubling.

    `outage` is true while most requests fail: then one try at a time is let through. Once `closed`, none may start.
    """

    def __init__(
        self,
        section: EndpointTeacher,
        say: Callable[[str], None],
        *,
        first_pause_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.section, self.say, self.clock = section, say, clock
        self.level = float(min(START, section.concurrency))
        self.on_wire = 0
        self.outage = self.closed = False
        self._slow_start = True
        self._cut_at = self._hold_until = self._outage_at = float("-inf")
        self._first_probe_s = self._probe_s = 5 * first_pause_s
        # when a try ended, and the request's id if it failed
        self._recent: deque[tuple[float, str]] = deque(maxlen=WINDOW_TRIES)
        self._expected: float | None = None  # tokens of one request, as the mean so far
        self._answers = 0
        rpm, tpm = section.requests_per_minute, section.tokens_per_minute
        self._requests = Bucket(rpm, clock()) if rpm else None
        self._tokens = Bucket(tpm, clock()) if tpm else None

    @property
    def room(self) -> int:
        """How many requests may be under way, those that wait for another try included."""
        return 1 if self.outage else int(self.level)

    def wait_s(self) -> float:
        """Seconds until the next try may start, or may be asked for again; 0 when it may start now."""
        if self.closed:
            return CLOSED_S
        now = self.clock()
        wait = self._hold_until - now
        if self.on_wire >= self.room:
            wait = max(wait, POLL_S)
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                wait = max(wait, bucket.wait_s(now))
        return max(0.0, wait)

    def started(self, worst_tokens: int) -> Try:
        """Counts a try that starts now; its end is told with what this gives.

        Its tokens are set aside as the mean so far, or at their worst before anything is known.
        """
        self.on_wire += 1
        made = Try(self.clock(), worst_tokens if self._expected is None else self._expected)
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(made.tokens)
        return made

    def left(self) -> None:
        """A try is no longer on the wire, however it ended."""
        self.on_wire -= 1

    def succeeded(self, made: Try, tokens: int) -> None:
        """An answer came, with so many tokens: the level rises, fast at first, and by one a round after an overload."""
        if self._tokens is not None:
            self._tokens.take(tokens - made.tokens)
        self._answers += 1
        self._expected = (
            tokens if self._expected is None else self._expected + (tokens - self._expected) / self._answers
        )
        self._note("")
        if self.outage:
            if made.at < self._outage_at:
                return
            self.outage, self._probe_s = False, self._first_probe_s
            self._recent.clear()
            self.say(f"the server answers again: going on with {self.room} at once")
        gain = GAIN if self._slow_start else 1 / self.level
        self.level = min(float(self.section.concurrency), self.level + gain)

    def failed(self, made: Try, request: str, trouble: str, asked_s: float | None) -> None:
        """A try failed: halves the level on overload, once for all that were on the wire together.

        Raises EngineError when the server has not answered for `max_outage_s`.
        """
        now = self.clock()
        if self._tokens is not None:
            self._tokens.take(-made.tokens)
        if asked_s is not None:
            self._hold(now, min(asked_s, self.section.timeout_s))
        if trouble in OVERLOAD and made.at >= self._cut_at:
            before, self.level, self._slow_start, self._cut_at = self.room, max(1.0, self.level / 2), False, now
            if self.room < before:
                self.say(f"{trouble}: going on with {self.room} at once instead of {before}")
        self._note(request)
        if self.outage and made.at >= self._outage_at:
            self._still_out(now, trouble)
        elif not self.outage and self._most_fail():
            self.outage, self._outage_at = True, now
            self._hold_until = max(self._hold_until, now + self._probe_s)
            self.say(f"most requests of the last minute failed ({trouble}): pausing for {self._probe_s:g} s")

    def _hold(self, now: float, asked_s: float) -> None:
        if asked_s >= SAID_FROM_S and now + asked_s > self._hold_until + SAID_FROM_S:
            self.say(f"the server asks to wait {asked_s:.0f} s")
        self._hold_until = max(self._hold_until, now + asked_s)

    def _still_out(self, now: float, trouble: str) -> None:
        out_s = now - self._outage_at
        if out_s >= self.section.max_outage_s:
            raise EngineError(
                f"the server at {self.section.base_url} has failed for {out_s:.0f} s, which is more than "
                f"max_outage_s: {self.section.max_outage_s:g} ({trouble})"
            )
        self._probe_s = min(LONGEST_PROBE_S, 2 * self._probe_s)
        self._hold_until = max(self._hold_until, now + self._probe_s)
        self.say(f"the server still fails ({trouble}): the next try is in {self._probe_s:g} s")

    def _note(self, failed: str) -> None:
        now = self.clock()
        self._recent.append((now, failed))
        while self._recent[0][0] < now - WINDOW_S:
            self._recent.popleft()

    def _most_fail(self) -> bool:
        """Whether most of the last minute's tries failed, or of the last two rounds of them: a busy minute has seen
        thousands of answers, which must not hide that there are none any more."""
        recent = list(self._recent)[-max(2 * FEWEST_TRIES, 2 * self.room) :]
        failed = [request for _, request in recent if request]
        if len(recent) < FEWEST_TRIES or 2 * len(failed) <= len(recent):
            return False
        return len(set(failed)) >= min(FEWEST_REQUESTS, self.section.concurrency)
