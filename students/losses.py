"""Next-token losses that never hold the logits of all positions: takes hidden states, gives one summed loss.

Legend: N positions that have a target, D hidden width, V vocabulary, C positions of one chunk, S of one strip
of a chunk.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from students.products import HeadProducts

STRIP_LOGITS = 2**21
"""The loss is taken in float32 for so many of a chunk's logits at a time on a CPU, 8 MiB, which its caches hold."""
GPU_STRIP_LOGITS = 2**25
"""The same on a GPU, which wants more to do at a time."""
LossAndSlope = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Takes logits_CV in float32, which are its own to change, and the positions that they are of; gives the summed loss
and slope_CV, its slope by the logits."""


def chunked_cross_entropy(hidden_ND: Tensor, head_weight_VD: Tensor, targets_N: Tensor, chunk: int = 0) -> Tensor:
    """The cross entropy in nats, summed over the N positions, as a float32 scalar.

    Equal to `F.cross_entropy(hidden_ND @ head_weight_VD.T, targets_N, reduction="sum")`, with the softmax in float32.
    The head's products are made for `chunk` positions at once, by default as many as `chunked` says.
    """

    def loss_and_slope(logits_CV: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        return _cross_entropy(logits_CV, targets_N[rows])

    return chunked(hidden_ND, head_weight_VD, loss_and_slope, chunk)


def chunked(hidden_ND: Tensor, head_weight_VD: Tensor, loss_and_slope: LossAndSlope, chunk: int = 0) -> Tensor:
    """A loss of the logits hidden_ND @ head_weight_VD.T, summed over the positions, as a float32 scalar.

    The head's products are made for `chunk` positions at once, by default as many as `products.CHUNK_BYTES`
    hold; of these the loss is taken for as many at a time as STRIP_LOGITS hold.

    Both gradients are taken in the forward pass, chunk by chunk, so that no chunk's logits are made twice
    (Hsu et al., 2024, "Liger Kernel", arXiv 2410.10989, section 3.2), and only those that are wanted. It can be
    differentiated once.
    """
    result: Tensor = _Chunked.apply(hidden_ND, head_weight_VD, loss_and_slope, chunk)  # type: ignore[no-untyped-call]
    return result


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, loss_and_slope: LossAndSlope, chunk: int) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        products = HeadProducts(hidden_ND, head_VD, wants_hidden, wants_head, chunk)
        strip = _rows_per_strip(head_VD)
        for start in range(0, hidden_ND.shape[0], products.chunk):
            logits_CV = products.logits_of(start)
            for first, logits_SV in enumerate(torch.split(logits_CV, strip)):
                rows = slice(start + first * strip, start + first * strip + len(logits_SV))
                loss, slope_SV = loss_and_slope(logits_SV.float(), rows)
                total += loss
                if slope_SV.data_ptr() != logits_SV.data_ptr() and (wants_hidden or wants_head):
                    logits_SV.copy_(slope_SV)
            products.take(logits_CV, start)
        ctx.save_for_backward(products.grad_ND, products.grad_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        scaled = [None if grad is None else grad.mul_(grads[0].to(grad.dtype)) for grad in ctx.saved_tensors]
        return (*scaled, None, None)


def _rows_per_strip(head_VD: Tensor) -> int:
    logits = STRIP_LOGITS if head_VD.device.type == "cpu" else GPU_STRIP_LOGITS
    return max(1, logits // head_VD.shape[0])


def _cross_entropy(logits_CV: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
    """The chunk's summed loss and its slope, softmax minus one-hot; one buffer, and one exponential for each logit."""
    at_target_C1 = targets_C.unsqueeze(1)
    target_logits_C1 = logits_CV.gather(1, at_target_C1)
    largest_C1 = logits_CV.amax(1, keepdim=True)
    sum_C1 = logits_CV.sub_(largest_C1).exp_().sum(1, keepdim=True)
    loss = (largest_C1 + sum_C1.log() - target_logits_C1).sum()
    slope_CV = logits_CV.div_(sum_C1)
    slope_CV.scatter_add_(1, at_target_C1, slope_CV.new_full(at_target_C1.shape, -1.0))
    return loss, slope_CV
