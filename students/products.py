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

CHUNK_BYTES = 2**27
"""A head's logits in so many bytes are made at once, whatever the vocabulary: 440 positions in 16 bits at V = 152
thousand. With half as many the products took a tenth longer, since the head's weights are read anew for each chunk."""
TRAINED_CHUNK_BYTES = 2**29
"""The same for a head that is trained in 16 bits: positions that fit into one chunk need no sum of their gradients in
float32, which takes as much by itself."""
BLOCK = 2**23
"""Elements of a head's rows that are copied to float32 at once for a product, 32 MiB."""
ADDED_BLOCK = 2**20
"""The same for a sum: 4 MiB, which a processor's caches hold."""
_PRODUCTS = {torch.ops.aten.mm.default, torch.ops.aten.bmm.default, torch.ops.aten.addmm.default}


@functools.cache
def _without_instructions() -> bool:
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return platform.machine() in ("x86_64", "AMD64") and not supported


class HeadProducts:
    """A head's products with the positions of a chunk, chunk after chunk, in buffers that are made once: what is asked
    of the system for every chunk is cleared anew, page by page, which took as long as the products.

    `grad_ND` and `grad_VD`, None where one is not wanted, are whole when all chunks were taken.
    """

    def __init__(
        self, hidden_ND: Tensor, head_VD: Tensor, wants_hidden: bool, wants_head: bool, chunk: int = 0
    ) -> None:
        """`chunk` is the most positions to a chunk, by default as many as CHUNK_BYTES hold."""
        positions, vocabulary = max(1, hidden_ND.shape[0]), head_VD.shape[0]
        self._hidden_ND, self._head_VD = hidden_ND, head_VD
        self._half = head_VD.dtype != torch.float32 and not _slow(head_VD)
        dtype = head_VD.dtype if self._half else torch.float32
        self._parts = list(_blocks(head_VD, BLOCK)) if _slow(head_VD) else [slice(None)]
        room = TRAINED_CHUNK_BYTES if self._half and wants_head else CHUNK_BYTES
        chunk = chunk or max(1, room // dtype.itemsize // vocabulary)
        self.chunk = -(-positions // -(-positions // chunk))  # as few chunks, of like size
        self._logits_CV = torch.empty(self.chunk, vocabulary, dtype=dtype, device=head_VD.device)
        self.grad_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        self._product_VD = torch.empty_like(head_VD) if wants_head and self._half else None
        self.grad_VD = self._product_VD
        if wants_head and not (self._half and self.chunk == len(hidden_ND)):  # else the only product is the gradient
            self.grad_VD = torch.zeros_like(head_VD, dtype=torch.float32)

    def logits_of(self, start: int) -> Tensor:
        """The logits of the chunk from that position on, in 16 bits or in float32; the next chunk's are written over
        them."""
        hidden_CD, head_VD = self._hidden_ND[start : start + self.chunk], self._head_VD
        logits_CV = self._logits_CV[: hidden_CD.shape[0]]
        if self._half:
            return torch.mm(hidden_CD, head_VD.T, out=logits_CV)
        hidden_CD = hidden_CD.float()
        for rows in self._parts:
            torch.mm(hidden_CD, head_VD[rows].float().T, out=logits_CV[:, rows])
        return logits_CV

    def take(self, slope_CV: Tensor, start: int) -> None:
        """Adds to the gradients what a loss with this slope by the chunk's logits gives them."""
        hidden_CD, head_VD = self._hidden_ND[start : start + self.chunk], self._head_VD
        if self.grad_ND is not None:
            grad_CD = self.grad_ND[start : start + self.chunk]
            if self._half:
                torch.mm(slope_CV, head_VD, out=grad_CD)
            else:
                grad_CD.copy_(self._by_hidden(slope_CV))
        if self._product_VD is not None:
            torch.mm(slope_CV.T, hidden_CD, out=self._product_VD)
            if self.grad_VD is not None and self.grad_VD is not self._product_VD:
                _add(self.grad_VD, self._product_VD)
        elif self.grad_VD is not None:
            self.grad_VD.addmm_(slope_CV.T, hidden_CD.float())  # without a second buffer of the head's size

    def _by_hidden(self, slope_CV: Tensor) -> Tensor:
        slope_CD = slope_CV.new_zeros(slope_CV.shape[0], self._head_VD.shape[1])
        for rows in self._parts:
            slope_CD.addmm_(slope_CV[:, rows], self._head_VD[rows].float())
        return slope_CD


def _add(sum_VD: Tensor, product_VD: Tensor) -> None:
    """Adds 16 bits to float32 in blocks: as they are, two dtypes took several times as long on a CPU."""
    for rows in _blocks(sum_VD, ADDED_BLOCK):
        sum_VD[rows] += product_VD[rows].float()


def _blocks(head_VD: Tensor, elements: int) -> Iterator[slice]:
    """Runs of the head's rows, so that no whole copy of it in float32 is made."""
    rows = max(1, elements // head_VD.shape[1])
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
