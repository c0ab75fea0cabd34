"""The work of bench_sft.py, for either trainer: a Qwen2.5-0.5B-shaped model with random weights, and random documents.

Takes a size; gives the model and the documents, the same for the same size in every process.
"""

import random
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

IGNORED = -100
PROMPT_TOKENS = 64
BATCH = 4


@dataclass(frozen=True)
class Size:
    """A model's shape and how many documents of which lengths; `log_mean` and `longest` are those of their tokens."""

    vocabulary: int
    width: int
    inner: int
    layers: int
    heads: int
    documents: int
    log_mean: float
    shortest: int
    longest: int


SIZES = {
    "half": Size(151936, 896, 4864, 12, 14, 16, 5.8, 96, 1024),
    "small": Size(32000, 128, 256, 2, 4, 16, 4.6, 80, 256),
}


def model(size: Size, dtype: str) -> Any:
    """Random weights, the same every time."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    return Qwen2ForCausalLM(config).to(getattr(torch, dtype))


def documents(size: Size) -> list[list[int]]:
    """Token ids of log-normal lengths; the first `PROMPT_TOKENS` of each are not trained."""
    rng = random.Random(0)
    lengths = [
        int(min(size.longest, max(size.shortest, rng.lognormvariate(size.log_mean, 0.6))))
        for _ in range(size.documents)
    ]
    return [[rng.randrange(10, size.vocabulary) for _ in range(length)] for length in lengths]
