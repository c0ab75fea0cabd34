"""One of two processes that train together: the student of every section in a file of JSON, each in its own folder.

With `die_at` a training is interrupted after that step, and no further one begins: other processes train on.
"""

import json
import os
import traceback
from pathlib import Path

import torch

from distill.student_sections import Student
from students import Job, train
from students.progress import Log


def dying(step: int):
    """A log that interrupts the training."""
    plain = Log.on_log

    def on_log(self, args, state, control, **rest):
        plain(self, args, state, control, **rest)
        if state.global_step == step:
            Log.on_log = plain
            raise KeyboardInterrupt

    return on_log


def learn(root: Path, name: str, die_at: int, section: dict) -> None:
    if die_at:
        Log.on_log = dying(die_at)
    train(Job(Student(**section), root / "kept", root / name, root / "cache", print, signals=root / "signals"))


def run(rank: int, port: int, root: Path, asked: str) -> None:
    """Trains as the process `rank` of two, with the environment that torchrun would have given it; what went wrong is
    left in a file."""
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in world.items()} | {"MASTER_ADDR": "127.0.0.1"})
    torch.set_num_threads(1)
    try:
        for name, (die_at, section) in json.loads((root / asked).read_text()).items():
            learn(root, name, die_at, section)
    except KeyboardInterrupt:
        return
    except Exception:
        (root / f"trouble-{rank}.txt").write_text(traceback.format_exc())
        raise
