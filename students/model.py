"""The student's base: takes the recipe's section, gives its tokenizer and the model as it is to be trained."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor

from distill.errors import InputError
from distill.quantization import settings
from distill.recipe import located
from distill.student_sections import Student

_UNLIKE = {"final_logit_softcapping": None, "logit_scale": 1.0, "logits_scaling": 1.0}
"""Settings of models that change the logits after the head, with the values at which they do nothing."""


def device() -> str:
    """Where this process trains: its own GPU, or the CPU."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"


def dtype_of(name: str) -> torch.dtype:
    """The recipe's dtype as torch's."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def load_tokenizer(section: Student) -> Any:
    """The base's tokenizer; raises InputError where it has no chat template, no EOS, or cannot be loaded."""
    from transformers import AutoTokenizer

    path = located("student.base", section.base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **_source(section.revision, section.trust_remote_code))
    except (OSError, ValueError, StrictDataclassError) as error:
        raise _unloadable(section.base, error) from error
    if not tokenizer.chat_template:
        raise InputError(
            f"student.base: the tokenizer of {section.base} has no chat template; "
            "put a chat_template.jinja into the model's folder, or write a base that has one"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"student.base: the tokenizer of {section.base} has no end-of-sequence token; "
            'write "eos_token" into its tokenizer_config.json'
        )
    return tokenizer


def load_model(section: Student, tokenizer: Any) -> Any:
    """The model ready to train: all weights, or a LoRA adapter in float32 on every linear layer but the head.

    Full weights are held in the recipe's dtype. A quantized base (nf4 with double quantization: Dettmers et al., 2023,
    arXiv 2305.14314, section 3; int8: arXiv 2208.07339) is frozen, and its other weights keep the recipe's dtype.
    Raises InputError for a base that cannot be loaded, that the tokenizer outgrows, or whose logits are rescaled.
    """
    source = (section.base, section.revision, section.quantization, section.dtype, section.trust_remote_code)
    model = load_base(*source, shardable=section.distributed is not None)
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < len(tokenizer):
        raise InputError(
            f"student.base: {section.base} embeds {rows} tokens and its tokenizer has {len(tokenizer)}; "
            "write a base whose tokenizer belongs to it"
        )
    for name, neutral in _UNLIKE.items():
        if getattr(model.config, name, None) not in (None, neutral):
            raise InputError(f"student.base: {section.base} rescales its logits ({name}), which cannot be trained here")
    model.config.use_cache = False
    return model if section.lora is None else _adapted(model, section)


def load_base(
    base: str, revision: str | None, quantization: str, dtype: str, trust_remote_code: bool, *, shardable: bool = False
) -> Any:
    """A causal LM as stored, or quantized ("nf4", "int8"; `shardable`: see `distill.quantization.settings`); raises
    InputError where it cannot be loaded."""
    from transformers import AutoModelForCausalLM

    options = _source(revision, trust_remote_code)
    if quantization != "none":
        quantized = settings(quantization, dtype_of(dtype), shardable=shardable)
        options |= {"quantization_config": quantized, "device_map": {"": device()}}
    try:
        return AutoModelForCausalLM.from_pretrained(located("student.base", base), dtype=dtype_of(dtype), **options)
    except (OSError, ValueError, StrictDataclassError) as error:
        raise _unloadable(base, error) from error


def parameters(model: Any) -> tuple[int, int]:
    """How many parameters are trained, and how many there are but for an adapter's; packed 4-bit ones count whole."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        trained, everything = model.get_nb_trainable_parameters()
        return int(trained), int(everything - trained)
    return sum(p.numel() for p in model.parameters() if p.requires_grad), int(model.num_parameters())


def _adapted(model: Any, section: Student) -> Any:
    """A fresh adapter on a frozen base, with first weights that follow from the seed."""
    from peft import LoraConfig, get_peft_model

    assert section.lora is not None
    if section.gradient_checkpointing:
        model.enable_input_require_grads()
    rank = section.lora.rank
    config = LoraConfig(
        r=rank,
        lora_alpha=section.lora.alpha or 2 * rank,
        lora_dropout=section.lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(section.seed)
    return get_peft_model(model, config)


def _source(revision: str | None, trust_remote_code: bool) -> dict[str, Any]:
    """How every part of a base is loaded."""
    return {"revision": revision or "main", "trust_remote_code": trust_remote_code}


def _unloadable(base: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"student.base: {base} cannot be loaded as a model folder or a Hub id: {reason}")


def save(model: Any, tokenizer: Any, target: Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Writes the model (or its adapter) and its tokenizer under a temporary name, then renames the folder; `weights`
    by name, where the model's own are sharded."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, state_dict=weights)
    tokenizer.save_pretrained(partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
