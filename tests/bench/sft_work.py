"""The work of bench_sft.py, for either trainer: a Qwen2.5-0.5B-shaped model with random weights, and random documents.

Takes a size; gives the model and the documents, the same for the same size in every process, and what measures them.
"""

import random
import resource
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, TrainerCallback

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
    "gpu": Size(151936, 896, 4864, 24, 14, 64, 8.2, 1024, 4096),
    "step": Size(151936, 896, 4864, 12, 14, 4, 5.8, 96, 1024),
    "small": Size(32000, 128, 256, 2, 4, 16, 4.6, 80, 256),
}


def model(size: Size, dtype: str) -> Any:
    """Random weights, the same every time; `nf4` has an adapter on a 4-bit base."""
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
    made = Qwen2ForCausalLM(config)
    return made.to(getattr(torch, dtype)) if dtype != "nf4" else adapted(made)


def adapted(whole: Any) -> Any:
    """LoRA of rank 16 on the model's weights as nf4 keeps them."""
    from peft import LoraConfig, get_peft_model
    from transformers import BitsAndBytesConfig

    with tempfile.TemporaryDirectory() as folder:
        whole.to(torch.bfloat16).save_pretrained(folder)
        settings = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
        device = {"": "cuda" if torch.cuda.is_available() else "cpu"}
        base = Qwen2ForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, quantization_config=settings, device_map=device
        )
    torch.manual_seed(0)
    return get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))


class Clock(TrainerCallback):
    """Seconds of each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def peak_gib() -> float:
    """The most memory held so far: the GPU's where there is one, else this process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def documents(size: Size) -> list[list[int]]:
    """Token ids of log-normal lengths; the first `PROMPT_TOKENS` of each are not trained."""
    rng = random.Random(0)
    lengths = [
        int(min(size.longest, max(size.shortest, rng.lognormvariate(size.log_mean, 0.6))))
        for _ in range(size.documents)
    ]
    return [[rng.randrange(10, size.vocabulary) for _ in range(length)] for length in lengths]
