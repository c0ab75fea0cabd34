"""Started by torchrun: trains the student of every section in a file of JSON, each in a folder of its own.

With `die_at` a training is interrupted after that step, and the same call trains on.
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
    job = Job(Student(**section), root / "kept", root / name, root / "cache", print)
    if die_at:
        Log.on_log = dying(die_at)
        try:
            train(job)
        except KeyboardInterrupt:
            torch.distributed.destroy_process_group()
    train(job)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, (die_at, section) in json.loads((Path(sys.argv[1]) / "sections.json").read_text()).items():
        learn(Path(sys.argv[1]), name, die_at, section)
