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


class HeadProducts:
    """A head's products with the positions of a chunk, chunk after chunk, in buffers that are made once: what is asked
    of the system for every chunk is cleared anew, page by page, which took as long as the products."""

    def __init__(self, hidden_ND: Tensor, head_VD: Tensor, chunk: int) -> None:
        shape = min(chunk, hidden_ND.shape[0]), head_VD.shape[0]
        self._head_VD = head_VD
        self._logits_CV = torch.empty(shape, dtype=torch.float32, device=head_VD.device)
        plain = head_VD.dtype == torch.float32 or _slow(head_VD)
        self._half_CV = None if plain else torch.empty(shape, dtype=head_VD.dtype, device=head_VD.device)
        self._made_VD: Tensor | None = None

    def logits_of(self, hidden_CD: Tensor) -> Tensor:
        """hidden_CD @ head_VD.T in float32; the next chunk's are written over them."""
        head_VD, logits_CV = self._head_VD, self._logits_CV[: hidden_CD.shape[0]]
        if self._half_CV is not None:
            half_CV = self._half_CV[: hidden_CD.shape[0]]
            return logits_CV.copy_(torch.mm(hidden_CD, head_VD.T, out=half_CV))
        hidden_CD = hidden_CD.float()
        for rows in _blocks(head_VD) if _slow(head_VD) else [slice(None)]:
            torch.mm(hidden_CD, head_VD[rows].float().T, out=logits_CV[:, rows])
        return logits_CV

    def take(self, slope_CV: Tensor, hidden_CD: Tensor, grad_CD: Tensor | None, grad_VD: Tensor | None) -> None:
        """Writes slope_CV @ head_VD into grad_CD and adds slope_CV.T @ hidden_CD to the float32 grad_VD; None leaves
        one out. The slope is in float32, the products are made in the head's dtype."""
        if self._half_CV is not None:
            self._take_half(self._half_CV[: len(slope_CV)].copy_(slope_CV), hidden_CD, grad_CD, grad_VD)
            return
        if grad_CD is not None:
            slope_CD = slope_CV.new_zeros(grad_CD.shape)
            for rows in _blocks(self._head_VD) if _slow(self._head_VD) else [slice(None)]:
                slope_CD.addmm_(slope_CV[:, rows], self._head_VD[rows].float())
            grad_CD.copy_(slope_CD)
        if grad_VD is not None:
            grad_VD.addmm_(slope_CV.T, hidden_CD.float())  # without a second buffer of the head's size

    def _take_half(self, slope_CV: Tensor, hidden_CD: Tensor, grad_CD: Tensor | None, grad_VD: Tensor | None) -> None:
        if grad_CD is not None:
            torch.mm(slope_CV, self._head_VD, out=grad_CD)
        if grad_VD is not None:
            if self._made_VD is None:
                self._made_VD = torch.empty_like(self._head_VD)
            torch.mm(slope_CV.T, hidden_CD, out=self._made_VD)
            for rows in _blocks(grad_VD):  # added as they are, two dtypes took three times as long on a CPU
                grad_VD[rows] += self._made_VD[rows].float()


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
