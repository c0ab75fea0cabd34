"""Next-token losses that never hold the logits of all positions: takes hidden states, gives one summed loss.

Legend: N positions that have a target, D hidden width, V vocabulary, C positions of one chunk.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from students.products import HeadProducts

CHUNK_LOGITS = 2**25
"""So many logits exist at once, 128 MiB in float32, whatever the vocabulary: 220 positions at V = 152 thousand. Twice
as many were 10 % faster on a CPU; a quarter, half as fast, since the head's weights are read anew for each chunk."""
LossAndSlope = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Takes logits_CV in float32, which are its own to change, and the positions that they are of; gives the summed loss
and slope_CV, its slope by the logits."""


def chunked_cross_entropy(hidden_ND: Tensor, head_weight_VD: Tensor, targets_N: Tensor, chunk: int = 0) -> Tensor:
    """The cross entropy in nats, summed over the N positions, as a float32 scalar.

    Equal to `F.cross_entropy(hidden_ND @ head_weight_VD.T, targets_N, reduction="sum")`, with the softmax in float32.
    `chunk` positions are taken at once, as many as `rows_per_chunk` says by default.
    """

    def loss_and_slope(logits_CV: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        return _cross_entropy(logits_CV, targets_N[rows])

    return chunked(hidden_ND, head_weight_VD, loss_and_slope, chunk or rows_per_chunk(head_weight_VD.shape[0]))


def rows_per_chunk(vocabulary: int, logits: int = CHUNK_LOGITS) -> int:
    """Positions whose logits over `vocabulary` rows of a head exist at once, at least one."""
    return max(1, logits // vocabulary)


def chunked(hidden_ND: Tensor, head_weight_VD: Tensor, loss_and_slope: LossAndSlope, chunk: int) -> Tensor:
    """A loss of the logits hidden_ND @ head_weight_VD.T, summed over the positions, as a float32 scalar.

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
        grad_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        grad_VD = torch.zeros_like(head_VD, dtype=torch.float32) if wants_head else None
        products = HeadProducts(hidden_ND, head_VD, chunk)
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            loss, slope_CV = loss_and_slope(products.logits_of(hidden_ND[rows]), rows)
            total += loss
            products.take(slope_CV, hidden_ND[rows], None if grad_ND is None else grad_ND[rows], grad_VD)
            del slope_CV  # before the next chunk's is made
        ctx.save_for_backward(grad_ND, None if grad_VD is None else grad_VD.to(head_VD.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        scaled = [None if grad is None else grad * grads[0].to(grad.dtype) for grad in ctx.saved_tensors]
        return (*scaled, None, None)


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
