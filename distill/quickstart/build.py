"""Makes the bundled models again from nothing: a tokenizer, a teacher that reasons, a base that does not.

usage: python -m distill.quickstart.build [--out FOLDER] [--only teacher|base]

On one core of a 2-core machine the teacher took 55 minutes and the base 18. On 150 held-out problems of each family
(seed 777, temperature 0.6) the teacher scored 100 % and 100 %, the base 5 % and 0 %, on sums and on `aiw`.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from distill import prompts
from distill.quickstart import corpus
from distill.quickstart.corpus import Text

HERE = Path(__file__).parent
BOS, EOS, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
PAD, THINK, UNTHINK = "<｜▁pad▁｜>", "<think>", "</think>"
IGNORED = -100  # the label that torch's cross-entropy leaves out


@dataclass(frozen=True)
class Plan:
    """How one of the two models is made."""

    layers: int
    steps: int
    texts: Callable[[int], Iterator[Text]]
    learning_rate: float
    seed: int
    prompts_count: bool  # whether the loss covers the prompts: the base learns the language of the problems
    nf4_from: float = 1.0  # from this share of the steps on, the forward pass sees the weights as nf4 would keep them
    batch: int = 64


PLANS = {
    "teacher": Plan(4, 8_000, corpus.teacher_texts, 2e-3, 1, prompts_count=False),
    "base": Plan(3, 3_500, corpus.base_texts, 2e-3, 2, prompts_count=True, nf4_from=0.5),
}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE over the corpus, digits one by one, DeepSeek's names for the control tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=505,
        special_tokens=[PAD, BOS, EOS, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((text.prompt + text.completion for text in islice(corpus.teacher_texts(0), 8000)), trainer)
    bpe.add_tokens([THINK, UNTHINK])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=EOS, pad_token=PAD)
    tokenizer.chat_template = (HERE / "chat_template.jinja").read_text(encoding="utf-8")
    tokenizer.model_max_length = 1024
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, text: Text, *, prompts_count: bool) -> tuple[list[int], list[int]]:
    """Token ids and labels of one text."""
    ends = [*tokenizer.encode(text.completion, add_special_tokens=False), tokenizer.eos_token_id]
    if not text.prompt:
        ids = [tokenizer.bos_token_id, *ends]
        return ids, list(ids)
    starts = prompts.prompt_ids(tokenizer, text.prompt)
    return starts + ends, (starts if prompts_count else [IGNORED] * len(starts)) + ends


def batches(tokenizer: PreTrainedTokenizerFast, plan: Plan) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless right-padded batches (ids_BT, labels_BT), each of texts of like length."""
    texts = plan.texts(plan.seed)
    while True:
        pool = [encode(tokenizer, text, prompts_count=plan.prompts_count) for text in islice(texts, plan.batch * 8)]
        pool.sort(key=lambda pair: len(pair[0]))
        order = torch.randperm(8).tolist()
        for at in order:
            rows = pool[at * plan.batch : (at + 1) * plan.batch]
            width = max(len(ids) for ids, _ in rows)
            ids_BT = torch.full((len(rows), width), tokenizer.pad_token_id)
            labels_BT = torch.full((len(rows), width), IGNORED)
            for row, (ids, labels) in enumerate(rows):
                ids_BT[row, : len(ids)] = torch.tensor(ids)
                labels_BT[row, : len(labels)] = torch.tensor(labels)
            yield ids_BT, labels_BT


class AsNf4(torch.nn.Module):
    """A parametrization that shows the weight as nf4 would keep it, and passes the gradient straight through.

    Bengio et al., 2013 (arXiv 1308.3432), the straight-through estimator. Tiny models lose much to rounding
    unless they have met it in training.
    """

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        import bitsandbytes.functional as bnb

        with torch.no_grad():
            packed, state = bnb.quantize_4bit(weight.detach().contiguous(), blocksize=64, quant_type="nf4")
            rounded = bnb.dequantize_4bit(packed, state)
        seen: torch.Tensor = weight + (rounded - weight).detach()
        return seen


def train(plan: Plan, tokenizer: PreTrainedTokenizerFast, log: Callable[[str], None]) -> Qwen2ForCausalLM:
    """One model of random weights, trained by the plan: AdamW, linear warm-up, cosine to a hundredth."""
    torch.manual_seed(plan.seed)
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=plan.layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    began, source = time.time(), batches(tokenizer, plan)
    for step in range(plan.steps):
        if step == int(plan.steps * plan.nf4_from):
            _show_as_nf4(model)
        share = step / plan.steps
        scale = min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * scale
        ids_BT, labels_BT = next(source)
        loss = model(input_ids=ids_BT, labels=labels_BT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 200 == 0:
            log(f"step {step} of {plan.steps}, loss {loss.item():.4f}, {time.time() - began:.0f} s")
    _hide_nf4(model)
    return model


def _linears(model: Qwen2ForCausalLM) -> list[torch.nn.Linear]:
    return [module for module in model.model.modules() if isinstance(module, torch.nn.Linear)]


def _show_as_nf4(model: Qwen2ForCausalLM) -> None:
    for linear in _linears(model):
        torch.nn.utils.parametrize.register_parametrization(linear, "weight", AsNf4())


def _hide_nf4(model: Qwen2ForCausalLM) -> None:
    for linear in _linears(model):
        if torch.nn.utils.parametrize.is_parametrized(linear):
            torch.nn.utils.parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)


def build(out: Path, only: str | None, log: Callable[[str], None]) -> None:
    """Writes `out`/teacher and `out`/base, each a folder that `from_pretrained` loads."""
    tokenizer = build_tokenizer()
    for name, plan in PLANS.items():
        if only not in (None, name):
            continue
        model = train(plan, tokenizer, lambda line, name=name: log(f"{name}: {line}"))  # type: ignore[misc]
        model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.95)
        model.to(torch.bfloat16).save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="where the two folders are written")
    parser.add_argument("--only", choices=list(PLANS), help="make one of the two")
    args = parser.parse_args()
    build(args.out, args.only, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
