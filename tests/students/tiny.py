"""A tiny tokenizer, tiny Qwen2 models and traces for the tests of students."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from distill import shards
from distill.records import Checkpoint, Completion, Problem, Sampling, Trace
from distill.signals import SignalSettings, SignalWriter
from distill.student_sections import Student
from students import Job
from students import train as train_job
from students.render import render
from students.trainer import NOT_THE_MODELS, causal_lm, taken

ALL = SignalSettings(k=272, mass=1.0, kl_nats=1e-6)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(think_is_control: bool = False) -> Any:
    """Byte-level, 256 bytes and a few merges' worth of nothing, with control tokens and think tags."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(text, special=True) for text in ("<|end|>", "<|im_start|>", "<|im_end|>")])
    raw.add_tokens([AddedToken(text, special=think_is_control, normalized=False) for text in ("<think>", "</think>")])
    made = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
    made.chat_template = TEMPLATE
    return made


def model(tied: bool = True, layers: int = 2) -> Any:
    """64 wide, so that 4-bit blocks fit."""
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=272,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=tied,
            max_position_embeddings=2048,
        )
    )


def base(folder: Path, tied: bool = True) -> str:
    """A model folder; returns its path."""
    model(tied).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def trace(prompt: str = "What is 1+1?", reasoning: str = "One and one.", answer: str = "\\boxed{2}") -> Trace:
    problem = Problem.of(prompt, "2", "math", "test")
    completion = Completion(reasoning, answer, "stop", None, None, "t")
    return Trace(f"{problem.id}#0", problem, completion, "t", 0, Sampling(), None, "2026-01-01", 1.0)


def traces(count: int) -> list[Trace]:
    return [
        trace(f"What is {i}+1?", f"{i} and one" + " more" * (i % 5) + ".", f"\\boxed{{{i + 1}}}") for i in range(count)
    ]


def train(section: Student, rows: Sequence[Trace], folder: Path, say: Callable[[str], None], **more: Any) -> Checkpoint:
    """Trains on traces that are written into the folder first, as curation leaves them."""
    shards.write_parts(folder / "kept", rows, Trace)
    return train_job(Job(section, folder / "kept", folder, folder / "cache", say, **more))


def teacher() -> Any:
    """A model that is no other's and sure of what it says."""
    made = model().eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return made


def dense(model: Any, trace: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A trace's completion tokens, and a model's log-probabilities of every token at each of them."""
    made = render(tokenizer(), trace)
    with torch.no_grad():
        logprobs = model(torch.tensor([made.ids])).logits[0].log_softmax(-1)
    return torch.tensor(made.ids[made.prompt_tokens :]), logprobs[made.prompt_tokens - 1 : -1]


def signals(folder: Path, of: Any, rows: Sequence[Trace], shift: int = 0, settings: SignalSettings = ALL) -> Path:
    writer = SignalWriter(folder, vocabulary=272, settings=settings, facts={})
    for trace in rows:
        targets, logprobs = dense(of, trace)
        ids = np.tile(np.arange(272, dtype=np.int32), (len(targets), 1))
        writer.add(trace.id, targets.numpy().astype(np.int32) + shift, ids, logprobs.numpy())
    writer.close()
    return folder


def hidden_states(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """The last hidden states [B, T, D] of a micro-batch."""
    arguments = {name: value for name, value in batch.items() if name not in NOT_THE_MODELS}
    with taken(causal_lm(model).get_output_embeddings(), lambda hidden_BTD, _: hidden_BTD):
        hidden_BTD: torch.Tensor = model(**arguments, use_cache=False).logits
    return hidden_BTD
