"""Products of half-precision matrices, also on CPUs that cannot make them: there they are made in float32.

Without the instructions for bfloat16 torch falls back to a loop that took five times as long as float32 on AVX2.
Legend: C positions, D hidden width, V vocabulary.
"""

import functools
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

BLOCK = 2**23
"""Elements of a head's rows that are copied to float32 at once, 32 MiB."""
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default}


@functools.cache
def _without_instructions() -> bool:
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return platform.machine() in ("x86_64", "AMD64") and not supported


def logits_of(hidden_CD: Tensor, head_VD: Tensor) -> Tensor:
    """hidden_CD @ head_VD.T in float32."""
    if not _slow(head_VD):
        return (hidden_CD @ head_VD.T).float()
    logits_CV = torch.empty(hidden_CD.shape[0], head_VD.shape[0])
    hidden_CD = hidden_CD.float()
    for rows in _blocks(head_VD):
        torch.mm(hidden_CD, head_VD[rows].float().T, out=logits_CV[:, rows])
    return logits_CV


def hidden_slope_of(slope_CV: Tensor, head_VD: Tensor) -> Tensor:
    """slope_CV @ head_VD in the head's dtype; the slope is in float32."""
    if not _slow(head_VD):
        return slope_CV.to(head_VD.dtype) @ head_VD
    slope_CD = slope_CV.new_zeros(slope_CV.shape[0], head_VD.shape[1])
    for rows in _blocks(head_VD):
        slope_CD.addmm_(slope_CV[:, rows], head_VD[rows].float())
    return slope_CD.to(head_VD.dtype)


def add_head_slope(total_VD: Tensor, slope_CV: Tensor, hidden_CD: Tensor) -> None:
    """Adds slope_CV.T @ hidden_CD to a float32 total."""
    if hidden_CD.dtype == torch.float32 or _slow(hidden_CD):
        total_VD.addmm_(slope_CV.T, hidden_CD.float())  # without a second buffer of the head's size
    else:
        total_VD += slope_CV.to(hidden_CD.dtype).T @ hidden_CD


def _blocks(head_VD: Tensor) -> Iterator[slice]:
    """Runs of the head's rows, so that no whole copy of it in float32 is made."""
    rows = max(1, BLOCK // head_VD.shape[1])
    return (slice(start, start + rows) for start in range(0, head_VD.shape[0], rows))


def _slow(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and _without_instructions()


@contextmanager
def fast_products() -> Iterator[None]:
    """Has bfloat16 products made in float32 within the block, backward passes included, where this CPU needs it."""
    if not _without_instructions() or torch.cuda.is_available():
        yield
        return
    with _InFloat32():  # type: ignore[no-untyped-call]
        yield


class _InFloat32(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS and args[-1].dtype == torch.bfloat16 and args[-1].device.type == "cpu":
            return func(*(one.float() for one in args), **(kwargs or {})).to(torch.bfloat16)
        return func(*args, **(kwargs or {}))
