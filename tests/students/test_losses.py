"""The loss in chunks equals the plain one, and counts the right positions."""

import math

import pytest
import torch
from torch.nn import functional as F

from students import losses
from students.losses import chunked_cross_entropy
from students.trainer import cross_entropy


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_equal_plain_with_gradients(chunk: int) -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(50, 16), torch.randn(33, 16)
    targets = torch.randint(0, 33, (50,))
    results = []
    for loss_of in (
        lambda h, w: chunked_cross_entropy(h, w, targets, chunk) / 50,
        lambda h, w: F.cross_entropy(h @ w.T, targets),
    ):
        h, w = hidden.clone().requires_grad_(), head.clone().requires_grad_()
        loss = loss_of(h, w)
        loss.backward()
        results.append((loss.detach(), h.grad, w.grad))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("chunk", [0, 16, 7])
@pytest.mark.parametrize("strip", [33, 33 * 5, 2**21])
def test_strips_and_chunks_in_16_bits_equal_plain(chunk: int, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One chunk, whose product is the head's gradient, or several, which are summed in float32; strips that end where
    chunks do and elsewhere."""
    monkeypatch.setattr(losses, "STRIP_LOGITS", strip)
    torch.manual_seed(0)
    hidden, head = torch.randn(50, 16).bfloat16(), torch.randn(33, 16).bfloat16()
    targets = torch.randint(0, 33, (50,))
    results = []
    for dtype in (torch.bfloat16, torch.float32):
        h, w = (each.to(dtype, copy=True).requires_grad_() for each in (hidden, head))
        if dtype == torch.bfloat16:
            loss = chunked_cross_entropy(h, w, targets, chunk) / 50
        else:
            loss = F.cross_entropy(h @ w.T, targets)
        loss.backward()
        assert h.grad is not None and w.grad is not None and h.grad.dtype == w.grad.dtype == dtype
        results.append((loss.detach().float(), h.grad.float(), w.grad.float()))
    for ours, plain in zip(*results, strict=True):
        torch.testing.assert_close(ours, plain, atol=3e-3, rtol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_positions_give_no_gradient(dtype: torch.dtype) -> None:
    hidden, head = torch.randn(0, 4, dtype=dtype).requires_grad_(), torch.randn(6, 4, dtype=dtype).requires_grad_()
    loss = chunked_cross_entropy(hidden, head, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0 and head.grad is not None and not head.grad.any()


def test_it_can_be_differentiated_once() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    loss = chunked_cross_entropy(hidden, torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 4]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head = torch.randn(5, 4, requires_grad=True), torch.randn(6, 4)
    chunked_cross_entropy(hidden, head, torch.tensor([0, 1, 2, 3, 4])).backward()
    assert hidden.grad is not None and head.grad is None


def test_three_tokens_by_hand() -> None:
    """Prompt [a], completion [b, c], two words in the vocabulary besides: b is told from a's position, c from b's."""
    hidden = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, 9.0]]])
    head = torch.tensor([[0.0, 0.0], [math.log(2), 0.0], [0.0, math.log(3) / 2]])
    labels = torch.tensor([[-100, 1, 2]])
    loss, count = cross_entropy(hidden, head, {"labels": labels})
    assert count == 2
    # position 0: weights 1, 2, 1 and target 1 -> -log(2/4); position 1: weights 1, 1, 3 and target 2 -> -log(3/5)
    assert loss.item() == pytest.approx(-math.log(2 / 4) - math.log(3 / 5), abs=1e-6)
