"""Whole weights of a trained student: takes a checkpoint, gives a plain transformers folder in bfloat16."""

from pathlib import Path
from typing import Any

import torch

from distill.errors import InputError
from distill.records import Checkpoint, Sampling
from students.model import load_base, save


def merge(checkpoint: Checkpoint, trust_remote_code: bool, out: Path) -> None:
    """Writes the student as a folder that plain transformers loads: safetensors, tokenizer, chat template, sampling.

    An adapter is merged in float32 into the weights that it was trained against, then cast to bfloat16: for a
    quantized base these are the DEQUANTIZED nf4 or int8 weights, not the original ones, since the adapter has learnt
    to make good their rounding (Dettmers et al., 2023, arXiv 2305.14314, section 2). `out` is written under a
    temporary name and renamed. Raises InputError where the checkpoint's folder or its base is not there.
    """
    from transformers import AutoTokenizer

    if not Path(checkpoint.path).is_dir():
        raise InputError(f"there is no checkpoint folder {checkpoint.path}; train the student again")
    model = _whole(checkpoint, trust_remote_code).to(torch.bfloat16)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, trust_remote_code=trust_remote_code)
    _set_generation(model, tokenizer)
    save(model, tokenizer, out)


def _whole(checkpoint: Checkpoint, trust_remote_code: bool) -> Any:
    """The model without any adapter or quantization."""
    if not checkpoint.adapter:
        return load_base(checkpoint.path, None, "none", "bfloat16", trust_remote_code)
    from peft import PeftModel

    revision = checkpoint.base_revision or None
    model = load_base(checkpoint.base, revision, checkpoint.quantization, "float32", trust_remote_code)
    if checkpoint.quantization != "none":
        model = model.dequantize(dtype=torch.float32)
    return PeftModel.from_pretrained(model, checkpoint.path).merge_and_unload()


def _set_generation(model: Any, tokenizer: Any) -> None:
    """R1's sampling (arXiv 2501.12948, section 3), ending at the token that training ended with."""
    settings = model.generation_config
    known = settings.eos_token_id
    ends = [known] if isinstance(known, int) else list(known or [])
    settings.eos_token_id = list(dict.fromkeys([tokenizer.eos_token_id, *ends]))
    settings.do_sample, settings.temperature, settings.top_p = True, Sampling.temperature, Sampling.top_p
    model.config.use_cache = True
