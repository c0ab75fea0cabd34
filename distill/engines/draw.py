"""One token for every row: takes logits, how each row is sampled and one random number each, gives token ids."""

from collections.abc import Sequence

import torch

from distill.errors import EngineError
from distill.records import Sampling

NUCLEUS = 1024  # so many of the likeliest tokens nearly always hold the whole nucleus: a full sort is slow


def draw(logits: torch.Tensor, samplings: Sequence[Sampling], chances: Sequence[float]) -> list[int]:
    """Temperature, then nucleus (Holtzman et al., 2019, arXiv 1904.09751); temperature 0 takes the likeliest.

    `logits` is rows by vocabulary in float32; each chance is in [0, 1) and picks from the nucleus by its cumulative
    probability. Raises EngineError where the logits are no numbers.
    """
    heat = _column([sampling.temperature or 1.0 for sampling in samplings], logits)
    top_p = _column([sampling.top_p for sampling in samplings], logits)
    chance = _column([c if s.temperature else 0.0 for s, c in zip(samplings, chances, strict=True)], logits)
    scaled = logits / heat
    total = scaled.logsumexp(-1, keepdim=True)
    if not bool(total.isfinite().all()):
        raise EngineError("the model gives no numbers (NaN or infinite logits); load it in another dtype")
    best, tokens = scaled.topk(min(NUCLEUS, scaled.shape[-1]), dim=-1)
    if bool(((best - total).exp().sum(-1, keepdim=True) < top_p).any()):
        best, tokens = scaled.sort(dim=-1, descending=True)
    share = (best - total).exp()
    sums = share.cumsum(-1)
    inside = (sums - share) < top_p
    wanted = chance * (share * inside).sum(-1, keepdim=True)
    at = (sums <= wanted).sum(-1, keepdim=True)
    at = torch.minimum(at, inside.sum(-1, keepdim=True) - 1)
    picked: list[int] = tokens.gather(-1, at).squeeze(-1).tolist()
    return picked


def _column(values: list[float], like: torch.Tensor) -> torch.Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
