"""Calls to the Hub that may fail: what to do in, what came of it out.

Reads are tried again while the trouble may pass. A write is never believed and never repeated blindly: an answer may
be lost after the Hub did what was asked, so what is there is looked at before every try and after the last
(`Hub.settle`). Every trouble ends as one sentence that says what is wrong and what to do.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import httpx2
from huggingface_hub import HfApi, get_session
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
)

from distill.errors import DistillError
from distill.records import printable

T = TypeVar("T")

PAUSES_S = (1.0, 4.0, 16.0)
"""Seconds to wait before each further try. The library itself tries uploads again, up to five times."""

LONGEST_PAUSE_S = 300.0
"""The Hub counts requests in windows of five minutes (Hub documentation, rate limits): it never asks for more."""

LOG_IN = "log in with `hf auth login`, or set HF_TOKEN to a token with write permission"

LONGEST_SILENCE_S = 300.0
"""For so long the Hub may say nothing in the middle of a call; the library itself would wait for ever."""

_LOST = (
    httpx2.HTTPError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    EntryNotFoundError,
)
"""What the library raises for a call that failed, or for an answer that is none."""

_REFUSALS = ("metadata in README.md", "LFS batch API returned errors")
"""How the library tells a refusal as a ValueError."""


class HubError(DistillError):
    """The Hub did not do what was asked. `status` is its HTTP status, None where it gave no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Trouble:
    """One failed call, told: whether it may pass by waiting, and for how long (seconds; None: not said)."""

    text: str
    status: int | None = None
    passing: bool = False
    wait_s: float | None = None


class Hub:
    """The Hub's API with patience. `say` takes sentences for people."""

    def __init__(self, api: HfApi, say: Callable[[str], None]) -> None:
        self.api, self.say = api, say

    def read(self, what: str, call: Callable[[], T]) -> T:
        """What a call without effect gives; raises HubError. `what` names the repository, or what is asked."""
        for pause_s in (*PAUSES_S, None):
            try:
                _limit_silence()
                return call()
            except DistillError:
                raise
            except _LOST as error:
                self._wait(trouble(error, what), pause_s, error)
        raise AssertionError("the last try returns or raises")

    def settle(self, what: str, done: Callable[[], T | None], act: Callable[[], object]) -> T:
        """Acts until `done` finds the effect, and gives what it found; raises HubError.

        `done` reads; it comes first, after every act, and after every failure, for an act may have worked although its
        answer was lost.
        """
        for pause_s in (*PAUSES_S, None):
            found = done()
            if found is not None:
                return found
            try:
                _limit_silence()
                act()
                told, cause = Trouble(f"the Hub took it all and shows something else in {what}", passing=True), None
            except DistillError:
                raise
            except _LOST as error:
                told, cause = trouble(error, what), error
            found = done()
            if found is not None:
                return found
            self._wait(told, pause_s, cause)
        raise AssertionError("the last try returns or raises")

    def _wait(self, told: Trouble, pause_s: float | None, cause: Exception | None) -> None:
        """Waits before the next try; raises HubError where there is none, or none would help."""
        if pause_s is None or not told.passing:
            raise HubError(told.text, told.status) from cause
        pause_s = min(max(pause_s, told.wait_s or 0.0), LONGEST_PAUSE_S)
        self.say(f"  {told.text}; trying again in {pause_s:.0f} s")
        time.sleep(pause_s)


def _limit_silence() -> None:
    """Before every call, for the library may have made a new client after the last one."""
    get_session().timeout = httpx2.Timeout(LONGEST_SILENCE_S, pool=None)


def trouble(error: Exception, what: str) -> Trouble:
    """A failed call in a sentence. `what` names the repository."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, HfHubHTTPError):
            return _refusal(cause, what)
        if isinstance(cause, OfflineModeIsEnabled):
            return Trouble("HF_HUB_OFFLINE is set, so the Hub cannot be asked; unset it")
        if isinstance(cause, LocalTokenNotFoundError):
            return Trouble(f"there is no token for the Hub; {LOG_IN}", 401)
        if isinstance(cause, (httpx2.HTTPError, ConnectionError, TimeoutError)):
            return Trouble(f"the Hub cannot be reached for {what} ({_words(cause)})", passing=True)
        if isinstance(cause, PermissionError) and cause.errno is None:  # of the Hub's storage, not of this disk
            return Trouble(f"the Hub's storage does not let this token write to {what} ({_words(cause)}); {LOG_IN}")
        if isinstance(cause, OSError):
            return Trouble(f"a file for {what} cannot be read: {_words(cause)}")
    if any(said in str(error) for said in _REFUSALS):
        return Trouble(f"the Hub refuses something of {what}: {_words(error)}", 400)
    return Trouble(f"the Hub's answer for {what} makes no sense ({_words(error)})", passing=True)


def _refusal(error: HfHubHTTPError, what: str) -> Trouble:
    status, words = error.response.status_code, _words(error.server_message or error)
    full = any(word in words.lower() for word in ("storage", "quota", "too large"))
    if status in (402, 413, 507) or (status == 403 and full):
        text = f"the Hub has no room for {what} ({words}); free storage there, or take a plan with more"
    elif status == 401:
        text = f"the Hub does not know the token that it was sent for {what}; {LOG_IN}"
    elif status == 403:
        text = f"the Hub does not let this token write to {what} ({words}); {LOG_IN}"
    elif status == 404:
        text = f"{what} is not on the Hub, or this token may not see it ({words})"
    elif status in (409, 412):
        text = f"somebody else changed {what} meanwhile ({words}); look at what is there, then run this again"
    elif status == 429:
        text = f"the Hub asks for fewer requests ({what})"
    else:
        text = f"the Hub answers {status} for {what} ({words})"
    return Trouble(text, status, status in (408, 429) or status >= 500, _asked_wait_s(error))


def _asked_wait_s(error: HfHubHTTPError) -> float | None:
    """How long the Hub asks to wait, by `Retry-After`, or by `ratelimit: "api";r=0;t=55`; seconds."""
    headers = error.response.headers
    found = re.fullmatch(r"\d+", headers.get("retry-after", "")) or re.search(r"\bt=\d+", headers.get("ratelimit", ""))
    return float(found.group().removeprefix("t=")) + 1 if found and error.response.status_code == 429 else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from: the library wraps what an upload's thread met."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _words(error: Exception | str) -> str:
    """The error's own words: one short line, without what could steer a terminal, and without a token."""
    line = " ".join(printable(str(error)).split()) or type(error).__name__
    return re.sub(r"\bhf_\w+", "hf_…", line)[:200]
