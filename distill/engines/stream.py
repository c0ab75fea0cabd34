"""A chat completion sent piece by piece: takes the bytes of server-sent events, gives what `reply.completion` reads.

Of each event only `data` counts (WHATWG HTML, section 9.2.6); comments that keep a connection open, `event`, `id`,
`retry` and `[DONE]` are passed over.
"""

import json
from collections.abc import Mapping
from typing import Any

from distill.engines.reply import Trouble

REPEATED = ("role",)  # strings that some servers send whole in every delta


class Stream:
    """Bytes of a text/event-stream in, the one chat completion that they spell out.

    Only the choice of index 0 is kept. Everything is kept in pieces until the end: a teacher sends 20,000 of them.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the line that has not ended yet, in pieces
        self._event: list[bytes] = []  # the data lines of the event that has not ended yet
        self._pieces: dict[str, list[Any]] = {}
        self._last: dict[str, Any] = {}
        self._stated: dict[str, Any] = {}  # model and provider, as first named
        self._logprobs: list[Any] = []
        self._finish: Any = None
        self._usage: Any = None
        self._error: Any = None
        self._chunks = 0

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes, wherever they were cut; raises Trouble for data that is not JSON."""
        first, *others = chunk.split(b"\n")
        self._line.append(first)
        for line in others:
            self._end_line()
            self._line.append(line)

    def data(self) -> dict[str, Any]:
        """The body that the server would have sent in one piece, or its `{"error": …}`; raises Trouble for a stream
        that broke off. To be asked for once all bytes are in."""
        torn = self._end_event_that_may_be_torn()
        if self._error is not None:
            return {"error": self._error}
        if torn and not self._finish:
            raise torn
        if not self._finish:
            raise Trouble("TornStream", f"the stream ended without a finish_reason, after {self._chunks} chunks")
        message = self._last | {field: _joined(pieces) for field, pieces in self._pieces.items()}
        choice = {"finish_reason": self._finish, "message": message}
        if self._logprobs:
            choice["logprobs"] = {"content": self._logprobs}
        return {"model": None, **self._stated, "choices": [choice], "usage": self._usage}

    def _end_line(self) -> None:
        line = b"".join(self._line).removesuffix(b"\r")
        self._line = []
        if not line:
            self._end_event()
            return
        field, _, value = line.partition(b":")
        value = value.strip()
        if field == b"data" and value not in (b"", b"[DONE]"):
            self._event.append(value)

    def _end_event(self) -> None:
        lines, self._event = self._event, []
        if not lines:
            return
        whole = _json(b"\n".join(lines))
        # one value over several lines, or several values by a server that leaves the blank lines out
        for value in [whole] if whole is not None else [_json(line) for line in lines]:
            if value is None:
                start = b" ".join(lines)[:200].decode("utf-8", "replace")
                raise Trouble("BadBody", f"the stream holds data that is not a JSON object: {start}")
            self._take(value)

    def _end_event_that_may_be_torn(self) -> Trouble | None:
        """Ends the last event; what is wrong with it matters only where the answer had not come to its end before."""
        try:
            self._end_line()
            self._end_event()
        except Trouble as trouble:
            return Trouble("TornStream", f"the stream broke off after {self._chunks} chunks ({trouble})")
        return None

    def _take(self, chunk: dict[str, Any]) -> None:
        self._chunks += 1
        if chunk.get("error") and self._error is None:
            self._error = chunk["error"]
        for name in ("model", "provider"):
            if chunk.get(name):
                self._stated.setdefault(name, chunk[name])
        choice = _choice(chunk)
        # at the top by most, in x_groq by Groq, in the choice by Moonshot
        for holder in (choice, chunk.get("x_groq"), chunk):
            if isinstance(holder, Mapping) and holder.get("usage") is not None:
                self._usage = holder["usage"]
        self._finish = choice.get("finish_reason") or self._finish
        stated = choice.get("logprobs")
        if isinstance(stated, dict) and isinstance(stated.get("content"), list):
            self._logprobs += stated["content"]
        delta = choice.get("delta")
        for field, value in delta.items() if isinstance(delta, dict) else ():
            self._add(field, value)

    def _add(self, field: str, value: Any) -> None:
        if value is None:
            return
        if field in REPEATED or not isinstance(value, str | list | dict):
            self._last[field] = value
            return
        pieces = self._pieces.setdefault(field, [])
        if isinstance(value, list):
            pieces.extend(value)
        elif value:
            pieces.append(value)


def _choice(chunk: Mapping[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices")
    first = [
        choice
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict) and not choice.get("index")
    ]
    return first[0] if first else {}


def _joined(pieces: list[Any]) -> str | list[Any]:
    return "".join(pieces) if all(isinstance(piece, str) for piece in pieces) else pieces


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter for brackets without end
        return None
    return value if isinstance(value, dict) else None
