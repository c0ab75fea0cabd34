"""Next-token losses that never hold the logits of all positions: takes hidden states, gives one summed loss.

Legend: N positions that have a target, D hidden width, V vocabulary, C positions of one chunk.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK = 512
"""Positions whose logits exist at once; at V = 152 thousand that is about 300 MiB in float32."""


def chunked_cross_entropy(hidden_ND: Tensor, head_weight_VD: Tensor, targets_N: Tensor, chunk: int = CHUNK) -> Tensor:
    """The cross entropy in nats, summed over the N positions, as a float32 scalar.

    Equal to `F.cross_entropy(hidden_ND @ head_weight_VD.T, targets_N, reduction="sum")`, with the softmax in float32.
    Both gradients are taken in the forward pass, chunk by chunk, so that no chunk's logits are made twice
    (Hsu et al., 2024, "Liger Kernel", arXiv 2410.10989, section 3.2). It can be differentiated once.
    """
    result: Tensor = _ChunkedCrossEntropy.apply(hidden_ND, head_weight_VD, targets_N, chunk)  # type: ignore[no-untyped-call]
    return result


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, chunk: int) -> Tensor:
        wants_hidden, wants_head = ctx.needs_input_grad[:2]
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        grad_VD = torch.zeros_like(head_VD, dtype=torch.float32) if wants_head else None
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            loss, slope_CV = _loss_and_slope(hidden_ND[rows], head_VD, targets_N[rows])
            total += loss
            if grad_ND is not None:
                grad_ND[rows] = slope_CV @ head_VD
            if grad_VD is not None:
                grad_VD += slope_CV.T @ hidden_ND[rows]
        ctx.save_for_backward(grad_ND, None if grad_VD is None else grad_VD.to(head_VD.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad_ND, grad_VD = ctx.saved_tensors
        scale = grads[0]
        return (
            None if grad_ND is None else grad_ND * scale.to(grad_ND.dtype),
            None if grad_VD is None else grad_VD * scale.to(grad_VD.dtype),
            None,
            None,
        )


def _loss_and_slope(hidden_CD: Tensor, head_VD: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
    """The chunk's summed loss and its slope by the logits, softmax minus one-hot, in the head's dtype."""
    logits_CV = (hidden_CD @ head_VD.T).float()
    logits_CV -= logits_CV.logsumexp(dim=-1, keepdim=True)
    at_target = targets_C.unsqueeze(1)
    loss = -logits_CV.gather(1, at_target).sum()
    slope_CV = logits_CV.exp_()
    slope_CV.scatter_add_(1, at_target, slope_CV.new_full(at_target.shape, -1.0))
    return loss, slope_CV.to(head_VD.dtype)
