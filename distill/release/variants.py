"""The forms in which a student ships: whole weights in bf16 in, the same or an int8 or nf4 copy out."""

import shutil
from pathlib import Path

from distill.quantization import settings


def build(merged: Path, variant: str, out: Path) -> Path:
    """Makes `out` from the merged weights unless it is there already; returns it.

    `bf16` is a copy; `int8` and `nf4` are what bitsandbytes makes of them (LLM.int8(): Dettmers et al., 2022, arXiv
    2208.07339; nf4 with double quantization: Dettmers et al., 2023, arXiv 2305.14314, section 3), loadable by plain
    transformers. Written under a temporary name, then renamed. Raises ValueError for another variant.
    """
    if variant not in ("bf16", "int8", "nf4"):
        raise ValueError(f"there is no variant {variant!r}; it is bf16, int8 or nf4")
    if out.exists():
        return out
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if variant == "bf16":
        shutil.copytree(merged, partial)
    else:
        _quantize(merged, variant, partial)
    partial.rename(out)
    return out


def _quantize(merged: Path, variant: str, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        merged, quantization_config=settings(variant, torch.bfloat16), dtype=torch.bfloat16
    )
    model.save_pretrained(out)
    AutoTokenizer.from_pretrained(merged).save_pretrained(out)
