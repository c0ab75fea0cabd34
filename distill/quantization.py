"""How bitsandbytes keeps weights: a name from the recipe in, its settings out; one place, so that what is trained
against, what is measured and what ships are quantized alike."""

from typing import Any


def settings(quantization: str, compute_dtype: Any, *, shardable: bool = False) -> Any:
    """transformers' BitsAndBytesConfig for "nf4" (double quantization: Dettmers et al., 2023, arXiv 2305.14314,
    section 3) or "int8" (arXiv 2208.07339); `compute_dtype` is the torch dtype that 4-bit products are made in.

    FSDP splits floating-point tensors only: `shardable` has the packed 4-bit numbers kept as if they were such, bit for
    bit the same."""
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype,
        **({"bnb_4bit_quant_storage": compute_dtype} if shardable else {}),
    )
