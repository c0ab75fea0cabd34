"""Ctrl-C with what is paid for in mind: the first one stops new work, the second one, or the end of the grace, all."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def graceful(stop: Callable[[], None], grace_s: float) -> Iterator[None]:
    """While the block lasts, the first SIGINT or SIGTERM calls `stop` and starts the clock; a second one, or the end of
    `grace_s` seconds, raises KeyboardInterrupt in the block.

    Does nothing outside the main thread, where no signal can be handled, or without grace.
    """
    if grace_s <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        signal.setitimer(signal.ITIMER_REAL, grace_s)
        stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
