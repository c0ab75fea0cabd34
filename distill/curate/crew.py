"""All cores at once: row groups in, what was seen of each out, in order, with few of them under way at a time."""

import json
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path

from distill.curate.look import Look, Looker, Place, Setup
from distill.curate_sections import Curate
from distill.errors import DistillError
from distill.run import write_json

AHEAD = 2
"""Row groups under way for each process: enough that none waits, few enough that their results fit in memory."""


def explore(setup: Setup, places: Sequence[Place], folder: Path) -> Iterator[list[Look]]:
    """The looks at each place, in the order of the places. `folder` takes a file while the processes work.

    One place, or one worker, is looked at in this process. Raises DistillError where a process dies (of memory, most
    likely), and what the looking raises.
    """
    workers = min(setup.section.workers or len(os.sched_getaffinity(0)), len(places))
    if workers <= 1:
        yield from map(Looker(setup), places)
        return
    file = folder / "looking.json"
    write_json(file, {"section": setup.section.model_dump(mode="json"), **_plain(setup)})
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_settle)
    try:
        yield from _ordered(pool, places, file, AHEAD * workers)
    except BrokenProcessPool as error:
        raise DistillError(
            "a process that looks at traces died, most likely of memory; write curate: {workers: 1}, or free some"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
        file.unlink(missing_ok=True)


def _ordered(pool: ProcessPoolExecutor, places: Sequence[Place], file: Path, ahead: int) -> Iterator[list[Look]]:
    rest, under_way = deque(places), deque[Future[list[Look]]]()
    while rest or under_way:
        while rest and len(under_way) < ahead:
            under_way.append(pool.submit(_look, file, rest.popleft()))
        yield under_way.popleft().result()


def _look(file: Path, place: Place) -> list[Look]:
    return _looker(file)(place)


@cache
def _looker(file: Path) -> Looker:
    stored = json.loads(file.read_text(encoding="utf-8"))
    return Looker(Setup(Curate(**stored["section"]), stored["prompts"], Path(stored["tokenizer"])))


def _plain(setup: Setup) -> dict[str, object]:
    stored = {name: value for name, value in asdict(setup).items() if name != "section"}
    return {**stored, "tokenizer": str(setup.tokenizer)}


def _settle() -> None:
    """Ctrl-C is the parent's to hear; and a process whose parent was killed does not stay behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
