"""How far the sampling is: takes what has arrived, gives a line for people now and then."""

import threading
import time
from collections.abc import Callable
from types import TracebackType

from distill.records import Failure, Trace
from teachers.sampling import LiveTeacher

EVERY_S = 10.0


class Progress:
    """Counts outcomes and, while the block lasts, says a line every so many seconds from a thread of its own: a teacher
    may think for minutes before anything arrives."""

    def __init__(self, teacher: LiveTeacher, problems: int, say: Callable[[str], None]) -> None:
        self.teacher, self.problems, self._say = teacher, problems, say
        self.traces = self.failed = self.tokens = 0
        self.usd = 0.0  # of the traces that arrived; what is in flight is not in it
        self._began = time.monotonic()
        self._done_before: int | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="progress", daemon=True)

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        if self.traces or self.failed:
            self._say(f"  {self.line()}")

    def count(self, item: Trace | Failure) -> None:
        """Takes one outcome."""
        if self._done_before is None:
            self._done_before = self.teacher.attempts.done
        if isinstance(item, Failure):
            self.failed += 1
        else:
            self.traces += 1
            self.tokens += item.completion.completion_tokens or 0
            self.usd += item.cost_usd or 0.0

    def line(self) -> str:
        """Where things stand now, since the start of this command."""
        attempts, seconds = self.teacher.attempts, max(1e-9, time.monotonic() - self._began)
        parts = [f"{attempts.done:,} of {self.problems:,} problems done", f"{self.traces:,} traces"]
        if attempts.judged:
            parts.append(f"{attempts.right:,} of {attempts.judged:,} verified")
        parts += [f"{self.failed:,} failed", f"{self.tokens / seconds:,.0f} tokens/s"]
        done = attempts.done - (self._done_before or 0)
        left = self.problems - attempts.done
        usd = self.teacher.purse.usd
        if usd is not None:
            parts.append(f"${usd:,.2f} spent or in flight")
            if done:
                parts.append(f"about ${usd + self.usd / done * left:,.2f} in all")
        if done and left:
            parts.append(f"about {_duration(seconds / done * left)} left")
        parts.append(f"{self.teacher.in_flight} in flight")
        return ", ".join(parts)

    def _tell(self) -> None:
        while not self._over.wait(EVERY_S):
            self._say(f"  {self.line()}")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
