"""Started by torchrun: trains the student of every section in a file of JSON, each in a folder of its own.

With `die_at` a training is interrupted after that step, and no further one begins: the next torchrun trains on.
"""

import json
import sys
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
    train(Job(Student(**section), root / "kept", root / name, root / "cache", print))


if __name__ == "__main__":
    torch.set_num_threads(1)
    root, asked = Path(sys.argv[1]), sys.argv[2]
    for name, (die_at, section) in json.loads((root / asked).read_text()).items():
        try:
            learn(root, name, die_at, section)
        except KeyboardInterrupt:
            sys.exit()
