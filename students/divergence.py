"""Cross entropy mixed with a divergence from a teacher: takes hidden states and sparse targets, gives one summed loss.

The teacher says the probability of a few tokens, the support, and that of all others together, the tail. The student's
distribution is folded into the same buckets: one for each token of the support and one, the last, for the tail.

Legend: N positions that have a target, C positions of one chunk, D hidden width, V rows of the head, K columns of
support, B = K + 1 buckets.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.errors import DistillError
from students.losses import chunked

ZERO = -1e30
"""The logarithm of a bucket without mass: its exponential is 0, and unlike -inf it may be subtracted and multiplied."""


@dataclass(frozen=True)
class Mixture:
    """loss = cross_entropy * CE + (1 - cross_entropy) * temperature^2 * divergence, at every position.

    `forward_kl` is KL(p || q) of teacher p and student q, both at `temperature`; its square keeps the size of the
    gradient (Hinton et al., 2015, arXiv 1503.02531, section 2). `jsd` is the generalized Jensen-Shannon divergence,
    beta * KL(p || m) + (1 - beta) * KL(q || m) with m = beta * p + (1 - beta) * q (Agarwal et al., 2024, arXiv
    2306.13649, equation 1), 0 < beta < 1. It never exceeds ln 2, and it goes to 0 at both ends of beta: divided by beta
    it goes to KL(p || q) as beta goes to 0, divided by 1 - beta to KL(q || p) as beta goes to 1.
    """

    cross_entropy: float
    temperature: float
    divergence: Literal["forward_kl", "jsd"]
    beta: float


@dataclass(frozen=True)
class Targets:
    """What N positions are trained towards; the columns of support may be padded anywhere.

    targets_N: int64, the tokens of the trace. ids_NK: int64, the support, no token twice, -1 where padded.
    logprobs_NK: float32, natural logarithms, -inf where padded. tail_N: float32, the logarithm of the mass on all other
    tokens, -inf for none. known_N: bool, False where the teacher says nothing; a position without support is the same.
    """

    targets_N: Tensor
    ids_NK: Tensor
    logprobs_NK: Tensor
    tail_N: Tensor
    known_N: Tensor

    def rows(self, rows: slice) -> "Targets":
        """The positions of `rows`."""
        return Targets(
            self.targets_N[rows], self.ids_NK[rows], self.logprobs_NK[rows], self.tail_N[rows], self.known_N[rows]
        )


def chunked_distillation(
    hidden_ND: Tensor,
    head_weight_VD: Tensor,
    targets: Targets,
    mixture: Mixture,
    vocabulary: int,
    chunk: int = 0,
) -> Tensor:
    """The mixture's loss in nats, summed over the N positions, as a float32 scalar.

    Where nothing is known it is the cross entropy alone, with weight 1.

    `vocabulary` is the number of tokens there are, at most V: the head's rows from there on are padding. Cross entropy
    is over all V rows; in the divergence the mass of padding rows counts to the student's tail, where the teacher has
    none of it. The teacher's tail is spread evenly over the `vocabulary` - n tokens that are not in its support before
    a temperature is applied, so that a support of all tokens gives the dense divergence. The teacher's buckets are
    normalized.

    It is made in chunks and differentiated as `losses.chunked` says, in float32 from the logits on. Raises DistillError
    for a support with tokens that the student has not.
    """
    if targets.ids_NK.numel() and (largest := int(targets.ids_NK.max())) >= vocabulary:
        raise DistillError(
            f"the teacher's signals hold token {largest}, and the student's tokens end at {vocabulary - 1}; "
            "score the traces again with this student's tokenizer"
        )

    def loss_and_slope(logits_CV: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
        return _loss_and_slope(logits_CV, _Teacher.of(targets.rows(rows), mixture, vocabulary), mixture)

    return chunked(hidden_ND, head_weight_VD, loss_and_slope, chunk)


@dataclass(frozen=True)
class _Teacher:
    """A chunk's targets without holes: every id is a token, and what was padded has no mass and repeats a bucket."""

    targets_C1: Tensor
    ids_CK: Tensor
    padded_CK: Tensor
    log_p_CB: Tensor
    cross_entropy_C1: Tensor
    divergence_C1: Tensor

    @staticmethod
    def of(targets: Targets, mixture: Mixture, vocabulary: int) -> "_Teacher":
        """The teacher's buckets at the mixture's temperature, and each position's weights of the two terms."""
        targets_C1, ids_CK, logprobs_CK = targets.targets_N.unsqueeze(1), targets.ids_NK, targets.logprobs_NK.float()
        if not ids_CK.shape[1]:
            ids_CK, logprobs_CK = F.pad(ids_CK, (0, 1), value=-1), F.pad(logprobs_CK, (0, 1), value=-math.inf)
        known_C1 = targets.known_N.unsqueeze(1) & (ids_CK >= 0).any(1, keepdim=True)
        # Where nothing is known the target stands for a support, so that such positions go the same way, weighed 0.
        ids_CK = torch.where(known_C1, ids_CK, F.pad(targets_C1, (0, ids_CK.shape[1] - 1), value=-1))
        padded_CK = ids_CK < 0
        first_C1 = ids_CK.gather(1, (~padded_CK).int().argmax(1, keepdim=True))
        log_p_CB = _tempered(
            torch.where(padded_CK, -math.inf, logprobs_CK), targets.tail_N, padded_CK, mixture, vocabulary
        )
        weight = mixture.cross_entropy
        return _Teacher(
            targets_C1,
            torch.where(padded_CK, first_C1, ids_CK),
            padded_CK,
            torch.where(known_C1, log_p_CB, 0.0).clamp_(min=ZERO),
            torch.where(known_C1, weight, 1.0),
            torch.where(known_C1, (1.0 - weight) * mixture.temperature**2, 0.0),
        )


def _tempered(logprobs_CK: Tensor, tail_C: Tensor, padded_CK: Tensor, mixture: Mixture, vocabulary: int) -> Tensor:
    """The normalized logarithms of p_i^(1/T) on the support and of n * (tail / n)^(1/T) on the n tokens of the tail."""
    others_C1 = vocabulary - (~padded_CK).sum(1, keepdim=True)
    log_others_C1 = others_C1.clamp(min=1).log()
    tail_C1 = log_others_C1 + (tail_C.float().unsqueeze(1) - log_others_C1) / mixture.temperature
    # A support of all tokens leaves nobody to have a tail that rounding left.
    tail_C1 = torch.where(others_C1 > 0, tail_C1, -math.inf)
    return torch.cat([logprobs_CK / mixture.temperature, tail_C1], dim=1).log_softmax(1)


def _loss_and_slope(logits_CV: Tensor, teacher: _Teacher, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """The chunk's summed loss and its slope by the logits.

    Within the tail a bucket's slope is shared out by the student's softmax over the tail alone.
    """
    tempered = mixture.temperature != 1.0
    at_target_C1 = logits_CV.gather(1, teacher.targets_C1)
    slope_CV = logits_CV / mixture.temperature if tempered else logits_CV
    log_q_CB, log_total_C1, sum_C1 = _fold(slope_CV, teacher)
    divergence_C1, slope_CB = _divergence(teacher.log_p_CB, log_q_CB, mixture)
    slope_CB *= teacher.divergence_C1 / mixture.temperature
    if not tempered:  # the cross entropy has the same softmax: it takes part in the one pass
        slope_CB += teacher.cross_entropy_C1 * log_q_CB.exp()
    slope_CV *= slope_CB[:, -1:] / sum_C1
    slope_CV.scatter_add_(1, teacher.ids_CK, slope_CB[:, :-1])  # onto zeros; padded columns add zero
    if tempered:
        largest_C1 = logits_CV.amax(1, keepdim=True)
        sum_C1 = logits_CV.sub_(largest_C1).exp_().sum(1, keepdim=True)
        log_total_C1 = largest_C1 + sum_C1.log()
        slope_CV += logits_CV.mul_(teacher.cross_entropy_C1 / sum_C1)
    slope_CV.scatter_add_(1, teacher.targets_C1, -teacher.cross_entropy_C1)
    cross_entropy_C1 = log_total_C1 - at_target_C1
    loss_C1 = teacher.cross_entropy_C1 * cross_entropy_C1 + teacher.divergence_C1 * divergence_C1
    return loss_C1.sum(), slope_CV


def _fold(logits_CV: Tensor, teacher: _Teacher) -> tuple[Tensor, Tensor, Tensor]:
    """The logarithms of the student's buckets, of its normalizer, and the sum of what is left in `logits_CV`.

    That is the exponentials of the tail's logits less their largest, with zeros at the support. So the tail's mass is
    a sum over the tail itself: one minus the support's is rounding error wherever the student is sure.
    """
    support_CK = logits_CV.gather(1, teacher.ids_CK).masked_fill_(teacher.padded_CK, ZERO)
    logits_CV.scatter_(1, teacher.ids_CK, -math.inf)
    largest_C1 = logits_CV.amax(1, keepdim=True).clamp_(min=ZERO)  # -inf where the support is all there is
    sum_C1 = logits_CV.sub_(largest_C1).exp_().sum(1, keepdim=True)
    folded_CB = torch.cat([support_CK, largest_C1 + sum_C1.log()], dim=1)
    log_total_C1 = folded_CB.logsumexp(1, keepdim=True)
    return (folded_CB - log_total_C1).clamp_(min=ZERO), log_total_C1, sum_C1.clamp_(min=1.0)


def _divergence(log_p_CB: Tensor, log_q_CB: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """The divergence of the buckets q from p, and its slope by the buckets' logits at the temperature.

    By a logit the slope is q * (h - sum(q * h)) with h the slope by q. For forward KL, h = -p / q, that is q - p;
    for the Jensen-Shannon divergence h = (1 - beta) * log(q / m), but for a constant, which falls away.
    """
    p_CB, q_CB = log_p_CB.exp(), log_q_CB.exp()
    if mixture.divergence == "forward_kl":
        return (p_CB * (log_p_CB - log_q_CB)).sum(1, keepdim=True), q_CB - p_CB
    beta = mixture.beta
    log_m_CB = torch.logaddexp(log_p_CB + math.log(beta), log_q_CB + math.log1p(-beta))
    from_p_C1 = (p_CB * (log_p_CB - log_m_CB)).sum(1, keepdim=True)
    log_ratio_CB = log_q_CB - log_m_CB
    from_q_C1 = (q_CB * log_ratio_CB).sum(1, keepdim=True)
    slope_CB = (1.0 - beta) * q_CB * (log_ratio_CB - from_q_C1)
    return beta * from_p_C1 + (1.0 - beta) * from_q_C1, slope_CB
