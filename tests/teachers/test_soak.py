"""A large bill survives kills: the real command, killed at random moments, against a server that counts."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distill import shards
from distill.journal import scan
from distill.records import Trace

PROBLEMS, ATTEMPTS, IN_FLIGHT, KILLS = 400, 2, 16, 20


def on_disk(journal: Path) -> set[str]:
    return {f"{trace.problem.ask}#{trace.seed}" for _, trace in scan(journal, Trace)}


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_ask_again_only_for_what_was_in_flight(
    tmp_path: Path, counting: Any, command: Any
) -> None:
    path, moments = command.recipe(PROBLEMS, concurrency=IN_FLIGHT, max_per_problem=ATTEMPTS), random.Random(3)
    journal = tmp_path / "runs" / "loopback" / "2-traces" / "journal.jsonl"
    there: list[set[str]] = []
    for life in range(KILLS):
        process, size = command.start("sample", path), journal.stat().st_size if journal.exists() else 0
        grown, end = moments.randint(1, 70_000), time.monotonic() + 60
        if life % 4 == 3:
            time.sleep(moments.uniform(0.1, 1.5))  # anywhere, the start included
        else:
            while (journal.stat().st_size if journal.exists() else 0) < size + grown and time.monotonic() < end:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        there.append(on_disk(journal))
        counting.next_life()
    process = command.start("sample", path)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said

    sealed = [trace.id for trace in shards.read_parts(tmp_path / "runs" / "loopback" / "2-traces", Trace)]
    assert len(sealed) == len(set(sealed)) == PROBLEMS * ATTEMPTS and not journal.exists()
    for before, after, asked in zip(there, [*there[1:], None], counting.asked[1:], strict=True):
        assert not before & set(asked), "an answer that was on disk was asked for again"
        assert after is None or before <= after
        assert len(asked) == len(set(asked))
    asks = Counter(ask for life in counting.asked for ask in life)
    again = sum(asks.values()) - len(asks)
    print(f"{len(sealed)} traces, {sum(asks.values())} requests, {again} asked again after {KILLS} kills")
    assert len(asks) == PROBLEMS * ATTEMPTS and 0 < again <= KILLS * IN_FLIGHT
