"""What ends a training from outside: takes what libraries raise for want of memory or disk, gives one sentence."""

import errno
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from distill.errors import DistillError, EngineError
from distill.student_sections import Student
from students import checkpoints
from students.batches import Layout

_NO_MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "bad_alloc", "CUDA out of memory")
_NO_DISK = ("No space left", "os error 28", "Disk quota exceeded", "os error 122")
_UNWRITTEN = ("PytorchStreamWriter failed", "inline_container.cc")
"""How torch tells that a file could not be written, whatever the reason."""


@contextmanager
def told(section: Student, folder: Path) -> Iterator[None]:
    """Raises DistillError in the place of what the libraries raise; `folder` holds the checkpoints."""
    try:
        yield
    except EngineError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise DistillError(
                "the GPU's memory does not suffice to solve held-out problems; write student.best_by: loss, or a "
                f"smaller student.max_tokens than {section.max_tokens}"
            ) from error
        raise
    except MemoryError as error:
        raise DistillError(_memory(section)) from error
    except pickle.UnpicklingError as error:
        raise DistillError(
            f"a checkpoint in {folder} holds what no training writes, and it was not read; delete the folder, and the "
            "same command trains anew"
        ) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        text = str(error)
        number = error.errno if isinstance(error, OSError) else None
        if (
            isinstance(error, torch.OutOfMemoryError)
            or number == errno.ENOMEM
            or any(sign in text for sign in _NO_MEMORY)
        ):
            raise DistillError(_memory(section)) from error
        if number in (errno.ENOSPC, errno.EDQUOT) or any(sign in text for sign in _NO_DISK):
            raise DistillError(f"the disk of {folder} is full; free some space, and {_goes_on(folder)}") from error
        if any(sign in text for sign in _UNWRITTEN):
            raise DistillError(
                f"a file in {folder} could not be written, most likely since the disk is full; free some space, and "
                f"{_goes_on(folder)}"
            ) from error
        raise


def _goes_on(folder: Path) -> str:
    last = checkpoints.last_whole(folder)
    if last is None:
        return "the same command trains from the first step"
    return f"the same command goes on from {last.name}, which is whole"


def _memory(section: Student) -> str:
    """What to write for less memory, of what is not written already; the first costs nothing but time."""
    micro_tokens = Layout.of(True, section.batch_tokens, section.micro_tokens).micro_tokens
    less = [f"student.micro_tokens: {micro_tokens // 2}"] if micro_tokens > 1 else []
    if not section.gradient_checkpointing:
        less.append("student.gradient_checkpointing: true")
    if section.lora is None:
        less.append("student.lora: {rank: 64}")
        if "8bit" not in section.optimizer:
            less.append("student.optimizer: adamw_bnb_8bit")
    elif section.quantization == "none":
        less.append("student.quantization: nf4")
    less.append(f"student.max_tokens: {section.max_tokens // 2}")
    where = "GPU's memory" if torch.cuda.is_available() else "memory"
    return f"the {where} does not suffice for this training; write {', '.join(less[:-1])} or {less[-1]}"
