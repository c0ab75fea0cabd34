"""The divergence over a sparse support equals the dense one, by hand and by autograd, and its memory has a bound."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import profile

from distill.errors import DistillError
from students import losses, products
from students.divergence import Mixture, Targets, chunked_distillation

FORWARD_KL = Mixture(cross_entropy=0.0, temperature=1.0, divergence="forward_kl", beta=0.5)
JSD = replace(FORWARD_KL, divergence="jsd")


def sparse(logprobs_NV: Tensor, k: int) -> Targets:
    """The k likeliest tokens of dense distributions; the targets are the likeliest ones."""
    top_NK, ids_NK = logprobs_NV.topk(k)
    rest_NV = logprobs_NV.scatter(1, ids_NK, -math.inf)
    known_N = torch.ones(len(top_NK), dtype=torch.bool)
    return Targets(ids_NK[:, 0].clone(), ids_NK, top_NK.float(), rest_NV.logsumexp(1).float(), known_N)


def kl(one: Tensor, other: Tensor) -> Tensor:
    there = one > 0
    return (one[there] * (one[there] / other[there]).log()).sum()


def dense_reference(hidden: Tensor, head: Tensor, targets: Targets, mixture: Mixture, vocabulary: int) -> Tensor:
    """The definition, in float64, position by position, with all logits at once and probabilities, not logarithms."""
    total = torch.zeros((), dtype=torch.float64)
    logits_NV, temperature = hidden.double() @ head.double().T, mixture.temperature
    for n, logits in enumerate(logits_NV):
        cross_entropy = -logits.log_softmax(0)[targets.targets_N[n]]
        if not targets.known_N[n]:
            total = total + cross_entropy
            continue
        real = targets.ids_NK[n] >= 0
        ids, tail = targets.ids_NK[n][real], targets.tail_N[n].double().exp()
        others = vocabulary - len(ids)
        p_tail = others * (tail / others) ** (1 / temperature) if others else torch.zeros(())
        p = torch.cat([(targets.logprobs_NK[n][real].double() / temperature).exp(), p_tail.reshape(1)])
        p = p / p.sum()
        q_all = (logits / temperature).softmax(0)
        in_tail = torch.ones(len(q_all), dtype=torch.bool)
        in_tail[ids] = False
        q = torch.cat([q_all[ids], q_all[in_tail].sum().reshape(1)])
        m = mixture.beta * p + (1 - mixture.beta) * q
        jsd = mixture.beta * kl(p, m) + (1 - mixture.beta) * kl(q, m)
        divergence = kl(p, q) if mixture.divergence == "forward_kl" else jsd
        weight = mixture.cross_entropy
        total = total + weight * cross_entropy + (1 - weight) * temperature**2 * divergence
    return total


def with_gradients(loss_of: Callable[..., Tensor], hidden: Tensor, head: Tensor, *rest: Any) -> list[Tensor]:
    hidden, head = hidden.clone().requires_grad_(), head.clone().requires_grad_()
    loss = loss_of(hidden, head, *rest)
    loss.backward()
    assert hidden.grad is not None and head.grad is not None
    return [loss.detach().double(), hidden.grad, head.grad]


def assert_equals_dense(hidden: Tensor, head: Tensor, targets: Targets, mixture: Mixture, vocabulary: int) -> None:
    ours = with_gradients(chunked_distillation, hidden, head, targets, mixture, vocabulary, 3)
    dense = with_gradients(dense_reference, hidden, head, targets, mixture, vocabulary)
    for one, other in zip(ours, dense, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def one_position(p: list[float], tail: float, target: int) -> Targets:
    ids = torch.arange(len(p)).unsqueeze(0)
    return Targets(
        torch.tensor([target]),
        ids,
        torch.tensor([p]).log(),
        torch.tensor([tail]).log(),
        torch.ones(1, dtype=torch.bool),
    )


def three_tokens(weights: list[float], targets: Targets, mixture: Mixture) -> float:
    """The loss of a student whose three tokens have probabilities in proportion to `weights`."""
    return chunked_distillation(torch.ones(1, 1), torch.tensor(weights).log().unsqueeze(1), targets, mixture, 3).item()


def test_forward_kl_of_three_tokens_by_hand() -> None:
    """The student says 1/2, 1/4, 1/4; the teacher 1/4 on the first and 3/4 on the others together."""
    by_hand = 1 / 4 * math.log(1 / 2) + 3 / 4 * math.log(3 / 2)
    targets = one_position([1 / 4], 3 / 4, target=1)
    assert three_tokens([2, 1, 1], targets, FORWARD_KL) == pytest.approx(by_hand, abs=1e-6)
    mixed = replace(FORWARD_KL, cross_entropy=0.25)
    assert three_tokens([2, 1, 1], targets, mixed) == pytest.approx(math.log(4) / 4 + by_hand * 3 / 4, abs=1e-6)


def test_jensen_shannon_of_three_tokens_by_hand() -> None:
    """As above, with beta 1/4: the mixture m is 1/4 * (1/4, 3/4) + 3/4 * (1/2, 1/2) = (7/16, 9/16)."""
    from_p = 1 / 4 * math.log(4 / 7) + 3 / 4 * math.log(12 / 9)
    from_q = 1 / 2 * math.log(8 / 7) + 1 / 2 * math.log(8 / 9)
    loss = three_tokens([2, 1, 1], one_position([1 / 4], 3 / 4, target=1), replace(JSD, beta=0.25))
    assert loss == pytest.approx(from_p / 4 + from_q * 3 / 4, abs=1e-6)


def test_temperature_of_three_tokens_by_hand() -> None:
    """At 2 the teacher's 9/17 and twice 4/17 become 3 : 2 : 2, and the student's 4 : 1 : 1 become 2 : 1 : 1."""
    by_hand = 3 / 7 * math.log(6 / 7) + 4 / 7 * math.log(8 / 7)
    loss = three_tokens([4, 1, 1], one_position([9 / 17], 8 / 17, target=0), replace(FORWARD_KL, temperature=2.0))
    assert loss == pytest.approx(4 * by_hand, abs=1e-6)


def test_where_nothing_is_known_it_is_the_cross_entropy() -> None:
    targets = one_position([1 / 4], 3 / 4, target=1)
    unknown = replace(targets, known_N=torch.tensor([False]))
    without_support = replace(targets, ids_NK=torch.tensor([[-1]]), logprobs_NK=torch.tensor([[-math.inf]]))
    without_columns = replace(unknown, ids_NK=torch.empty(1, 0).long(), logprobs_NK=torch.empty(1, 0))
    without_mass = replace(unknown, logprobs_NK=torch.tensor([[-math.inf]]), tail_N=torch.tensor([-math.inf]))
    for nothing in (unknown, without_support, without_columns, without_mass):
        for mixture in (FORWARD_KL, replace(JSD, temperature=3.0)):
            assert three_tokens([2, 1, 1], nothing, mixture) == pytest.approx(math.log(4), abs=1e-6)


@pytest.mark.parametrize("mixture", [FORWARD_KL, JSD])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_no_divergence_from_itself(mixture: Mixture, k: int) -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(20, 8), torch.randn(40, 8)
    targets = sparse((hidden @ head.T).log_softmax(1), k)
    for loss_or_gradient in with_gradients(chunked_distillation, hidden, head, targets, mixture, 40):
        torch.testing.assert_close(loss_or_gradient, torch.zeros_like(loss_or_gradient), atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_support_of_all_tokens_is_the_dense_loss(temperature: float) -> None:
    torch.manual_seed(0)
    hidden, head, teacher = torch.randn(20, 8), torch.randn(40, 8), torch.randn(20, 40) * 3
    mixture = Mixture(0.3, temperature, "forward_kl", 0.5)
    targets = sparse(teacher.log_softmax(1), 40)

    def dense(hidden: Tensor, head: Tensor) -> Tensor:
        logits = hidden @ head.T
        p, log_q = (teacher / temperature).softmax(1), (logits / temperature).log_softmax(1)
        divergence = F.kl_div(log_q, p, reduction="sum")
        return 0.3 * F.cross_entropy(logits, targets.targets_N, reduction="sum") + 0.7 * temperature**2 * divergence

    ours = with_gradients(chunked_distillation, hidden, head, targets, mixture, 40)
    for one, other in zip(ours, with_gradients(dense, hidden, head), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5, check_dtype=False)


@pytest.mark.parametrize("divergence", ["forward_kl", "jsd"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("cross_entropy", [0.0, 0.4, 1.0])
def test_gradients_equal_autograd_on_the_dense_form(divergence: Any, temperature: float, cross_entropy: float) -> None:
    """37 rows of the head of which four are padding; holes in the support; targets in the support and in the tail."""
    torch.manual_seed(1)
    hidden, head = torch.randn(25, 8), torch.randn(37, 8)
    targets = sparse((torch.randn(25, 33) * 3).log_softmax(1), 6)
    holes_NK = torch.rand(25, 6) < 0.3
    targets = replace(
        targets,
        targets_N=torch.where(torch.rand(25) < 0.5, targets.targets_N, torch.randint(0, 33, (25,))),
        ids_NK=targets.ids_NK.masked_fill(holes_NK, -1),
        logprobs_NK=targets.logprobs_NK.masked_fill(holes_NK, -math.inf),
        known_N=(torch.rand(25) < 0.8) & ~holes_NK.all(1),
    )
    assert holes_NK[:, 0].any() and not targets.known_N.all()
    assert_equals_dense(hidden, head, targets, Mixture(cross_entropy, temperature, divergence, 0.3), 33)


def test_quantized_probabilities_are_normalized() -> None:
    torch.manual_seed(2)
    hidden, head = torch.randn(10, 8), torch.randn(30, 8)
    targets = sparse(torch.randn(10, 30).log_softmax(1), 5)
    assert_equals_dense(hidden, head, replace(targets, logprobs_NK=targets.logprobs_NK + 0.1), FORWARD_KL, 30)
    twice = replace(targets, logprobs_NK=targets.logprobs_NK + math.log(2), tail_N=targets.tail_N + math.log(2))
    both = [chunked_distillation(hidden, head, each, FORWARD_KL, 30) for each in (targets, twice)]
    torch.testing.assert_close(*both)


@pytest.mark.parametrize(
    "mixture", [FORWARD_KL, JSD, replace(FORWARD_KL, temperature=2.0), replace(JSD, temperature=0.7)]
)
def test_peaked_positions_are_exact(mixture: Mixture) -> None:
    """The teacher leaves 1e-9 or nothing to the tail, the student 4e-13, where one minus the support would be 0."""
    head = torch.tensor([[30.0, 1.0], [0.0, 0.5], [0.0, -0.5], [1.0, 0.0]])
    for hidden in (torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])):
        for tail in (1e-9, 0.0):
            assert_equals_dense(hidden, head, one_position([1.0], tail, target=0), mixture, 4)
            assert_equals_dense(hidden, head, one_position([1.0, 0.0, 0.0, 0.0], tail, target=3), mixture, 4)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("mixture", [FORWARD_KL, JSD])
def test_huge_logits_are_finite(mixture: Mixture, temperature: float) -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(10, 8) * 1e4, torch.randn(30, 8) * 10
    targets = sparse((torch.randn(10, 30) * 1e3).log_softmax(1), 5)
    mixture = replace(mixture, temperature=temperature, cross_entropy=0.5)
    assert all(x.isfinite().all() for x in with_gradients(chunked_distillation, hidden, head, targets, mixture, 30))


def test_jensen_shannon_has_the_stated_limits() -> None:
    """By beta it goes to KL(p || q), by 1 - beta to KL(q || p), and it is at most ln 2."""
    targets = one_position([1 / 4], 3 / 4, target=0)
    for beta, scale, (p, q) in ((1e-3, 1e3, (1 / 4, 1 / 2)), (1 - 1e-3, 1e3, (1 / 2, 1 / 4))):
        kl = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        assert scale * three_tokens([2, 1, 1], targets, replace(JSD, beta=beta)) == pytest.approx(kl, rel=5e-3)
    assert three_tokens([1e-30, 1, 1], one_position([1.0], 0.0, 0), JSD) == pytest.approx(math.log(2))


def test_bfloat16_is_close_to_float32() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(20, 8).bfloat16(), torch.randn(40, 8).bfloat16()
    targets = sparse((torch.randn(20, 40) * 3).log_softmax(1), 5)
    mixture = Mixture(0.5, 2.0, "jsd", 0.5)
    short = with_gradients(chunked_distillation, hidden, head, targets, mixture, 40)
    long = with_gradients(chunked_distillation, hidden.float(), head.float(), targets, mixture, 40)
    assert short[1].dtype == short[2].dtype == torch.bfloat16
    for one, other in zip(short, long, strict=True):
        torch.testing.assert_close(one.float(), other.float(), atol=3e-2, rtol=2e-2)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head = torch.randn(1, 4, requires_grad=True), torch.randn(3, 4)
    chunked_distillation(hidden, head, one_position([0.5], 0.5, 0), FORWARD_KL, 3).backward()
    assert hidden.grad is not None and head.grad is None


def test_a_step_without_positions_is_zero() -> None:
    hidden, head = torch.randn(0, 4), torch.randn(3, 4)
    targets = one_position([0.5], 0.5, 0).rows(slice(0, 0))
    loss, *gradients = with_gradients(chunked_distillation, hidden, head, targets, FORWARD_KL, 3)
    assert loss == 0 and gradients[0].shape == (0, 4) and not gradients[1].any()


def test_a_support_beyond_the_vocabulary_is_refused() -> None:
    with pytest.raises(DistillError, match="hold token 2, and the student's tokens end at 1"):
        chunked_distillation(torch.ones(1, 1), torch.ones(4, 1), one_position([0.2, 0.2, 0.2], 0.4, 0), FORWARD_KL, 2)


def peak_bytes(vocabulary: int, mixture: Mixture, file: Path) -> int:
    """The most memory that was allocated at once above what there was before, with a frozen head."""
    torch.manual_seed(0)
    hidden, head = torch.randn(64, 4).requires_grad_(), torch.randn(vocabulary, 4)
    targets = sparse(torch.randn(64, vocabulary).log_softmax(1), 8)
    with profile(profile_memory=True) as seen:
        chunked_distillation(hidden, head, targets, mixture, vocabulary).backward()
    seen.export_chrome_trace(str(file))
    events = [event for event in json.loads(file.read_text())["traceEvents"] if event["name"] == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: float(event["ts"])):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize("mixture", [FORWARD_KL, replace(JSD, temperature=2.0)])
def test_memory_does_not_grow_with_the_vocabulary(
    mixture: Mixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = 2**20
    monkeypatch.setattr(products, "CHUNK_BYTES", budget)
    monkeypatch.setattr(losses, "STRIP_LOGITS", 2**17)
    small, large = (peak_bytes(size, mixture, tmp_path / "trace.json") for size in (16_000, 128_000))
    assert 0.9 * budget < small < 2.1 * budget
    assert large < 1.05 * small


def test_a_chunk_has_at_least_one_position(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "CHUNK_BYTES", 10_000)
    chunks = [products.HeadProducts(torch.ones(9, 1), torch.ones(rows, 1), True, False).chunk for rows in (1000, 3000)]
    assert chunks == [2, 1]
