"""What an OpenAI-compatible server sent back: takes a status, headers and a body, gives a completion or says what
kind of trouble it is: `Trouble` is worth another try, `Refusal` is this request's own, `EngineError` is everyone's.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from distill import think
from distill.answers import error_text
from distill.errors import EngineError, MissingReasoning, Refused
from distill.records import Completion, storable

LONGEST_TOKEN = 32  # bytes; a whole answer of longer tokens means that its reasoning was not counted
RETRIED = (408, 409, 425, 429)
OWN_FAULT = (400, 413, 422)
FINISHES = {"stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop",
            "length": "length", "max_tokens": "length"}  # fmt: skip


class Trouble(Exception):
    """One try went wrong in a way that may pass; `kind` names it, `wait_s` is how long the server asked to wait."""

    def __init__(self, kind: str, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.wait_s = kind, wait_s


class Refusal(Refused):
    """The server does not take this request (HTTP 400, 413, 422): all's fault if it took no other yet."""


def read(status: int, headers: Mapping[str, str], body: bytes, model: str) -> dict[str, Any]:
    """The body as data with at least one choice; raises Trouble, Refusal or EngineError."""
    data = _parse(body)
    if status != 200:
        _raise_status(status, _start(body) if data is None else _server_message(data), headers, model)
    if data is None:
        raise Trouble("BadBody", f"the body is not JSON: {_start(body)}")
    return checked(data, headers, model)


def checked(data: dict[str, Any], headers: Mapping[str, str], model: str) -> dict[str, Any]:
    """Data with at least one choice, as it is; raises Trouble, Refusal or EngineError for an error in its place."""
    if data.get("error") and not data.get("choices"):
        code = data["error"].get("code") if isinstance(data["error"], dict) else None
        status = int(code) if code is not None and str(code).isdigit() else 500
        _raise_status(status, _server_message(data), headers, model)
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Trouble("NoChoices", f"the answer has no choices, but {str(data)[:200]}")
    return data


def completion(
    data: Mapping[str, Any], asked: str, *, allow_other_model: bool, host: str = "", reasons: bool = True
) -> Completion:
    """The first choice as a completion; raises Trouble for an empty one or an error in words, MissingReasoning for one
    that only answers though the model `reasons`, EngineError for a model that was not asked for. `host` is the provider
    where none is named."""
    served = check_model(data, asked, allow_other_model)
    choice = data["choices"][0]
    message = choice.get("message")
    stated = choice.get("finish_reason") or "stop"
    if stated not in FINISHES:
        raise Trouble("FinishReason", f"the answer ended with finish_reason {stated!r}")
    finish = FINISHES[stated]
    if not isinstance(message, dict):
        raise Trouble("EmptyAnswer", "the first choice has no message")
    thought = _thought(message, finish, reasons)
    usage = data.get("usage") if isinstance(data.get("usage"), dict) else {}
    length = len((thought.reasoning + thought.answer).encode("utf-8", "replace"))
    return Completion(
        reasoning=storable(thought.reasoning),
        answer=storable(thought.answer),
        finish="stop" if finish == "stop" else "length",
        prompt_tokens=_count(usage, "prompt_tokens", 1),
        completion_tokens=_count(usage, "completion_tokens", length // LONGEST_TOKEN),
        model=storable(str(served)),
        clean=thought.clean,
        provider=storable(str(data.get("provider") or host)),
    )


def check_model(data: Mapping[str, Any], asked: str, allow_other_model: bool) -> str:
    """The served model's own name; raises EngineError for one that was not asked for."""
    served = str(data.get("model") or asked)
    if not allow_other_model and not same_model(asked, served):
        raise EngineError(
            f"asked for the model {asked!r}, and the server answered with {served!r}; write model: {served}, or "
            "allow_other_model: true to accept it"
        )
    return served


def same_model(asked: str, served: str) -> bool:
    """Whether two names mean one model: whatever their case, a maker's prefix, and what follows a colon."""
    one, other = (name.lower().partition(":")[0].rstrip("/") for name in (asked, served))
    return one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that `Retry-After` asks for, as a number or as a date; None where it says neither."""
    value = headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _thought(message: Mapping[str, Any], finish: str, reasons: bool) -> think.Thought:
    thought = think.read_message(message)
    if thought.reasoning:
        return thought
    content = str(message.get("content") or "")
    if not content.strip():
        raise Trouble("EmptyAnswer", "the answer has neither content nor reasoning")
    if think.CLOSE in content:
        return thought  # its thinking is there, and empty
    if error_text(content, alone=reasons):  # a model that never reasons may speak of errors in any answer
        raise Trouble("ErrorText", f"the answer is an error message: {content[:200]}")
    if not reasons:
        return thought
    if finish == "length":
        return think.split(content, opened=True)
    had = ", ".join(sorted(name for name, value in message.items() if value)) or "none"
    raise MissingReasoning(
        f"the teacher answered without its reasoning: the message's fields with a value are {had}, and reasoning is "
        f"read from {', '.join(think.FIELDS)} or from {think.OPEN}…{think.CLOSE} in content; turn the server's "
        "reasoning on (--reasoning-parser deepseek_r1 for vLLM, deepseek-r1 for SGLang) or ask a reasoning model"
    )


def _raise_status(status: int, message: str, headers: Mapping[str, str], model: str) -> NoReturn:
    if status in RETRIED or status >= 500:
        raise Trouble(f"HTTP{status}", f"HTTP {status}: {message}", retry_after(headers))
    text = f"the server refused the request for {model!r} with HTTP {status}: {message}"
    raise Refusal(text) if status in OWN_FAULT else Refused(text)


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):  # brackets nested by the thousand are no answer either
        return None
    return data if isinstance(data, dict) else None


def _server_message(data: dict[str, Any]) -> str:
    """What the server says went wrong, in one line, wherever it says it."""
    error = data.get("error", data)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return " ".join(str(error).split())[:500]


def _start(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split()) or "(empty)"


def _count(usage: Any, name: str, least: int) -> int | None:
    """A count of tokens; None where it is not stated, or is nothing or too little for the text that came with it."""
    value = usage.get(name)
    return value if isinstance(value, int) and value >= max(1, least) else None
