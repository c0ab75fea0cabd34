"""The processes that torchrun starts, told apart by its environment: the first leads, the others wait to be called.

Takes RANK and WORLD_SIZE; gives who this process is, and one word from the leader to all others. The leader alone runs
the stages, holds the run's lock and speaks; the others join the training when they are called.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CALLED = "distill/called"
_POLL_S = 0.2


def count() -> int:
    """How many processes there are; one where torchrun did not start this."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is; the leader is 0."""
    return int(os.environ.get("RANK", "0"))


@contextmanager
def leading() -> Iterator[None]:
    """Has the others end with the block, unless they were called to train within it."""
    try:
        yield
    finally:
        _say("end")


def call() -> None:
    """Calls the others into the training."""
    _say("train")


def called() -> bool:
    """Waits for the leader's word, as long as it takes; whether it is to train. Raises RuntimeError (torch's
    DistNetworkError) when the leader is gone."""
    store = _store()
    while not store.check([_CALLED]):
        time.sleep(_POLL_S)
    return bool(store.get(_CALLED) == b"train")


def _say(word: str) -> None:
    """Only the first word counts."""
    if count() > 1:
        _store().compare_set(_CALLED, "", word)


def _store() -> Any:
    """The key-value store that torchrun keeps for its processes, under a name that a restart does not share."""
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://"))
    return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
