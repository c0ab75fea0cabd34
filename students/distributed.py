"""Several processes of torchrun as one training: takes the student's section, gives a process group, the order in which
micro-batches are dealt out, and whole weights of a sharded model."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.utils.data import Sampler

from distill import processes
from distill.errors import InputError
from distill.student_sections import Student
from students.batches import MicroBatches

PATIENCE = timedelta(hours=2)
"""So long the processes wait for each other: the first may be writing a checkpoint, or solving held-out problems."""
_ENVIRONMENT = ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING")
"""What accelerate and transformers leave behind for each other."""


@contextmanager
def together(section: Student, name: str) -> Iterator[None]:
    """Joins this process with torchrun's others for the time of the block, on its own GPU where there are any; `name`
    is the training's alone.

    With FSDP the first process alone reads the base's weights, and the others receive their shards, unless the base is
    quantized. Raises InputError for a section that cannot be trained so. After an error the group is left as it is:
    taking it down would wait for processes that may be waiting themselves.
    """
    check(section)
    if processes.count() == 1:
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, count = next(rendezvous("env://"))
    store = PrefixStore(name, store)  # a second training would meet the first one's addresses
    backend = "cuda:nccl,cpu:gloo" if gpu else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    if section.distributed is not None:
        os.environ["ACCELERATE_USE_FSDP"] = "true"
        os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = str(reads_once(section)).lower()
    yield
    distributed.barrier()
    distributed.destroy_process_group()
    for name in _ENVIRONMENT:
        os.environ.pop(name, None)


def check(section: Student) -> None:
    """Raises InputError for what cannot be trained by several processes, or by one alone."""
    if section.distributed is None:
        return
    if processes.count() == 1:
        raise InputError(
            "student.distributed: fsdp shares the work between several processes, and this is one; start it with "
            "`torchrun --nproc-per-node 8 -m distill.cli train RECIPE`, or leave student.distributed out"
        )
    if section.best_by == "accuracy":
        raise InputError(
            "student.best_by: accuracy generates, for which every process needs all weights, and fsdp shards them; "
            "write best_by: loss"
        )
    if section.quantization == "int8":
        raise InputError(
            "student.quantization: int8 cannot be sharded by fsdp, which splits floating-point weights only; write nf4"
        )
    if section.optimizer not in ("adamw_torch", "adamw_torch_fused"):
        raise InputError(
            f"student.optimizer: {section.optimizer} cannot take sharded weights; write adamw_torch_fused (fsdp shards "
            "the optimizer's state, too)"
        )


def reads_once(section: Student) -> bool:
    """Whether the first process alone reads the base; what bitsandbytes quantized cannot be sent to the others."""
    return section.distributed is not None and section.quantization == "none"


class Turns(Sampler[tuple[int, ...]]):
    """Micro-batches as places of documents, one after the other to each process in turn, in the order of the epoch.

    An optimizer step has the same documents however many processes share it, and every document comes once in an
    epoch. `done` tells how many steps are done: the order follows from the seed and the epoch alone, also after a kill.
    """

    def __init__(self, batches: MicroBatches, seed: int, done: Callable[[], int]) -> None:
        self._batches, self._seed, self._done = batches, seed, done

    def __len__(self) -> int:
        return sum(rounds(len(step)) * processes.count() for step in self._steps(range(len(self._batches))))

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        steps = len(self._steps(range(len(self._batches))))
        order = np.random.default_rng([self._seed, self._done() // steps]).permutation(len(self._batches))
        for step in self._steps(order.tolist()):
            yield from self._batches.spread(step, rounds(len(step)) * processes.count())

    def _steps(self, order: Sequence[int]) -> list[Sequence[int]]:
        size = self._batches.per_step()
        return [order[start : start + size] for start in range(0, len(order), size)]


def rounds(micros: int) -> int:
    """How many micro-batches of a step each process takes."""
    return -(-micros // processes.count())


def shard_on_cpu(accelerator: Any, plugin: Any) -> None:
    """Has accelerate shard on CPUs as it does on GPUs: torch can, and accelerate turns it on for GPUs alone."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = DistributedType.FSDP
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def whole_weights(model: nn.Module) -> dict[str, Tensor] | None:
    """Every trained weight of a sharded model, gathered in the first process' memory; None where nothing is sharded,
    an empty dict in the other processes. All processes must call it."""
    from torch.distributed.tensor import DTensor

    if not any(isinstance(weight, DTensor) for weight in model.parameters()):
        return None
    gathered: dict[str, Tensor] = {}
    seen: dict[int, str] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        if not weight.requires_grad:
            continue
        if id(weight) in seen:  # a tied weight is one tensor under two names
            if processes.rank() == 0:
                gathered[name] = gathered[seen[id(weight)]]
            continue
        seen[id(weight)] = name
        one = weight.detach()
        one = one.full_tensor() if isinstance(one, DTensor) else one
        if processes.rank() == 0:
            gathered[name] = one.cpu()
    return gathered
