"""Whole weights of a trained student: takes a checkpoint, gives a plain transformers folder in bfloat16, and how far
that is from what was trained.

Legend: T tokens of a document, P positions that are compared, V vocabulary.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill import prompts, shards
from distill.errors import InputError
from distill.records import Checkpoint, Sampling, Trace
from distill.run import write_json
from students.model import device, load_base, save
from students.render import render_all

COMPARED_DOCUMENTS = 16
COMPARED_TOKENS = 512
"""The merged weights are run on the beginnings of so many documents, so many tokens of each."""
COMPARED_POSITIONS = 16
"""So many positions of each document, evenly spread over its completion: all their logits are held at once, 148 MiB in
float32 at V = 152 thousand."""


def merge(checkpoint: Checkpoint, trust_remote_code: bool, out: Path, kept: Path | None = None) -> dict[str, Any]:
    """Writes the student as a folder that plain transformers loads: safetensors, tokenizer, chat template, sampling.

    An adapter is merged in float32 into the weights that it was trained against, then cast to bfloat16: for a
    quantized base these are the DEQUANTIZED nf4 or int8 weights, not the original ones, since the adapter has learnt
    to make good their rounding (Dettmers et al., 2023, arXiv 2305.14314, section 2). `out` is written under a
    temporary name and renamed. Raises InputError where the checkpoint's folder or its base is not there.

    Given the parts of `kept` traces, what an adapter became is measured on the first of them, all products in float32:
    `merged` against the adapter on its base as they were trained, and `into_original`, for a quantized base, the same
    adapter merged into the original weights, which is not what is written. Each is a dict of `kl` (the mean of
    KL(trained || merged), in nats per token), `largest_logit_difference`, and `other_likeliest` (the share of positions
    whose likeliest token is another). They are returned, and left in merge.json beside `out`, with `positions`. For
    whole weights, and without traces, there is nothing to measure, and the dict is empty.
    """
    from transformers import AutoTokenizer

    if not Path(checkpoint.path).is_dir():
        raise InputError(f"there is no checkpoint folder {checkpoint.path}; train the student again")
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, trust_remote_code=trust_remote_code)
    texts = _texts(tokenizer, kept) if checkpoint.adapter and kept is not None else []
    trained = _trained_logits(checkpoint, trust_remote_code, texts) if texts else []
    model = _whole(checkpoint, checkpoint.quantization, trust_remote_code).to(torch.bfloat16)
    _set_generation(model, tokenizer)
    _open_thinking(tokenizer)
    facts: dict[str, Any] = {}
    if texts:
        facts = {"positions": sum(len(one) for one in trained), "merged": _difference(model, texts, trained)}
        model.to(torch.bfloat16)  # the same numbers again
    save(model, tokenizer, partial := out.with_name(f"{out.name}.unmeasured"))
    del model
    if texts and checkpoint.quantization != "none":
        original = _whole(checkpoint, "none", trust_remote_code).to(torch.bfloat16)
        facts["into_original"] = _difference(original, texts, trained)
    write_json(out.with_name("merge.json"), facts)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return facts


def told(facts: dict[str, Any]) -> str:
    """What `merge` measured, in one line; empty where it measured nothing."""
    if not facts:
        return ""
    line = f"merged: mean KL {facts['merged']['kl']:.2g} nats per token to what was trained"
    if "into_original" in facts:
        line += f" (it would be {facts['into_original']['kl']:.2g} into the base's original weights)"
    return line


def _whole(checkpoint: Checkpoint, quantization: str, trust_remote_code: bool) -> Any:
    """The model without any adapter or quantization, after a base quantized so was dequantized."""
    if not checkpoint.adapter:
        return load_base(checkpoint.path, None, "none", "bfloat16", trust_remote_code)
    from peft import PeftModel

    revision = checkpoint.base_revision or None
    model = load_base(checkpoint.base, revision, quantization, "float32", trust_remote_code)
    if quantization != "none":
        model = model.dequantize(dtype=torch.float32)
    return PeftModel.from_pretrained(model, checkpoint.path).merge_and_unload()


def _texts(tokenizer: Any, kept: Path) -> list[tuple[Tensor, Tensor]]:
    """The beginnings of documents: ids_T, and the places that are compared."""
    made = []
    for one in render_all(tokenizer, list(islice(shards.read_parts(kept, Trace), COMPARED_DOCUMENTS))):
        ids_T = torch.tensor(one.ids[:COMPARED_TOKENS])
        first = min(one.prompt_tokens, len(ids_T)) - 1  # the position that gives the completion's first token
        places = torch.linspace(first, len(ids_T) - 1, min(COMPARED_POSITIONS, len(ids_T) - first)).long()
        made.append((ids_T, places))
    return made


def _trained_logits(
    checkpoint: Checkpoint, trust_remote_code: bool, texts: Sequence[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """What the adapter says on its base, quantized as it was in training."""
    from peft import PeftModel

    revision = checkpoint.base_revision or None
    base = load_base(checkpoint.base, revision, checkpoint.quantization, "float32", trust_remote_code)
    model = PeftModel.from_pretrained(base, checkpoint.path)
    return list(_logits(model if checkpoint.quantization != "none" else model.to(device()), texts))


@torch.no_grad()
def _logits(model: Any, texts: Sequence[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
    """logits_PV of each text, in float32, in the host's memory."""
    model.eval()
    for ids_T, places in texts:
        logits_TV = model(input_ids=ids_T[None].to(model.device), use_cache=False).logits[0]
        yield logits_TV[places.to(model.device)].float().cpu()


def _difference(model: Any, texts: Sequence[tuple[Tensor, Tensor]], trained: Sequence[Tensor]) -> dict[str, float]:
    """How far a bfloat16 model's logits are from the trained one's; the model is left in float32."""
    kl = largest = other = positions = 0.0
    model.to(device()).float()
    for logits_PV, trained_PV in zip(_logits(model, texts), trained, strict=True):
        expected_PV, found_PV = trained_PV.double().log_softmax(1), logits_PV.double().log_softmax(1)
        kl += float((expected_PV.exp() * (expected_PV - found_PV)).sum())
        largest = max(largest, float((logits_PV - trained_PV).abs().max()))
        other += float((logits_PV.argmax(1) != trained_PV.argmax(1)).sum())
        positions += len(logits_PV)
    return {
        "kl": max(0.0, kl / positions),
        "largest_logit_difference": largest,
        "other_likeliest": other / positions,
    }


def _open_thinking(tokenizer: Any) -> None:
    """Has the template begin an answer as training began it, with the opening tag: so plain transformers, or a server
    with the released folder, asks as the gate does."""
    before, probe = tokenizer.chat_template, "1 + 1?"
    wanted = prompts.rendered(tokenizer, probe)
    added = wanted.removeprefix(prompts.rendered(tokenizer, probe, opened=False))
    if not (added and isinstance(before, str)):
        return
    tokenizer.chat_template = f"{before}{{%- if add_generation_prompt %}}{{{{ {json.dumps(added)} }}}}{{%- endif %}}"
    if prompts.rendered(tokenizer, probe, opened=False) != wanted:
        tokenizer.chat_template = before  # a template of another form stays as it is; lint has told of it


def _set_generation(model: Any, tokenizer: Any) -> None:
    """R1's sampling (arXiv 2501.12948, section 3), ending at the token that training ended with."""
    settings = model.generation_config
    known = settings.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or [])
    settings.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *ends]))
    settings.do_sample, settings.temperature, settings.top_p = True, Sampling.temperature, Sampling.top_p
    model.config.use_cache = True
