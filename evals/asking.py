"""Samples out of an engine: takes requests, gives every one's completion, or raises; what is known is not asked again.

Every completion is in the store before it counts, so that a killed evaluation goes on with the sample it was at.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from distill.errors import EngineError
from distill.records import Completion, Engine, Failure, Request, storable
from evals.store import Answered, Entry, Say

SAY_EVERY_S = 10.0
"""How often it is told how far the asking has come."""


class Lazy:
    """An engine that is loaded when it is first needed, and kept."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The engine itself; raises whatever loading it raises."""
        if self._engine is None:
            self._engine = self._load()
        return self._engine


def answers(lazy: Lazy, entry: Entry, requests: Sequence[Request], say: Say) -> dict[str, Answered]:
    """Every request's sample, by its id.

    Raises EngineError for a failed request, once what was in flight beside it has come in; for a request that is left
    out; and for an outcome that nobody asked for, or that comes twice: such an engine mixes answers up.
    """
    found = entry.known(requests)
    new = [request for request in requests if request.id not in found]
    if not new:
        return found
    say(f"{len(new):,} samples to ask" + (f", {len(found):,} are there already" if found else ""))
    _ask(lazy.engine, entry, new, found, say)
    missing = [request.id for request in new if request.id not in found]
    if missing:
        raise EngineError(f"the engine left {len(missing)} of {len(new)} samples out, the first is {missing[0]}")
    return found


def _ask(engine: Engine, entry: Entry, new: Sequence[Request], found: dict[str, Answered], say: Say) -> None:
    by_id = {request.id: request for request in new}
    failures: list[Failure] = []
    kind, came = type(engine).__name__, 0
    began = said = time.monotonic()

    def wanted() -> Iterator[Request]:
        for request in new:
            if failures:  # what is in flight is paid for and waited for; nothing more is asked
                return
            yield request

    for request, outcome in engine.complete(wanted()):
        if request.id not in by_id:
            raise EngineError(f"the engine answered {request.id}, which it was not asked; its answers are mixed up")
        if isinstance(outcome, Failure):
            failures.append(outcome)
            continue
        if request.id in found:
            raise EngineError(f"the engine answered {request.id} twice; its answers are mixed up")
        found[request.id] = entry.keep(by_id[request.id], _public(outcome), kind)
        came += 1
        now = time.monotonic()
        if now - said >= SAY_EVERY_S and came < len(new):
            said, left_s = now, (now - began) / came * (len(new) - came)
            say(f"{came:,} of {len(new):,} samples, about {left_s:,.0f} s left")
    if failures:
        first = failures[0]
        raise EngineError(
            f"{len(failures)} of {len(new)} samples failed, and a score with holes is no score; the first, {first.id}, "
            f"failed after {first.attempts} attempts ({first.error}: {first.message})"
        )


def _public(completion: Completion) -> Completion:
    """A completion that may be written and published: no half characters, and no path of this machine as its model."""
    model = storable(completion.model)
    return dataclasses.replace(
        completion,
        reasoning=storable(completion.reasoning),
        answer=storable(completion.answer),
        model=PurePath(model).name if PurePath(model).is_absolute() else model,
        provider=storable(completion.provider),
    )
