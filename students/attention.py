"""Attention document by document: takes packed rows with the documents' lengths, gives what each would get alone.

A dense mask over a packed row costs the square of the whole row; this costs the sum of the documents' squares, with
torch's own kernels, which on a GPU are the flash ones.
Shapes: H query heads, K key heads, T tokens of all documents in one row, D a head's width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "distill_documents"


def use(model: Any) -> bool:
    """Has the model attend document by document, where it can: plain causal attention in every layer, through
    transformers' attention interface. Says whether it does."""
    from transformers import AttentionInterface, AttentionMaskInterface

    if not _plain(model):
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _no_mask)
    model.set_attn_implementation(NAME)
    return True


def attend(
    module: torch.nn.Module, query_BHTD: Tensor, key_BKTD: Tensor, value_BKTD: Tensor, mask: None = None, **more: Any
) -> tuple[Tensor, None]:
    """Causal attention within each of the documents that stand in one row; without `document_lengths` among what the
    model passes on, the row is one document. Gives [B, T, H, D], as transformers' own functions do."""
    lengths = more.get("document_lengths") or [query_BHTD.shape[2]]
    options: dict[str, Any] = {"dropout_p": more.get("dropout", 0.0), "scale": more.get("scaling"), "is_causal": True}
    times = query_BHTD.shape[1] // key_BKTD.shape[1]
    if query_BHTD.is_cuda:
        options["enable_gqa"] = times > 1
    elif times > 1:  # torch's own sharing of keys takes two thirds longer on a CPU
        key_BKTD, value_BKTD = key_BKTD.repeat_interleave(times, 1), value_BKTD.repeat_interleave(times, 1)
    rows = (torch.split(row_BHTD, lengths, dim=2) for row_BHTD in (query_BHTD, key_BKTD, value_BKTD))
    made = [scaled_dot_product_attention(*one, **options) for one in zip(*rows, strict=True)]
    return torch.cat(made, 2).transpose(1, 2).contiguous(), None


def _no_mask(*_: Any, **__: Any) -> None:
    """The lengths say it all."""


def _plain(model: Any) -> bool:
    """Whether every layer's attention is causal and nothing else: no window, no cap, no state."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    able = model._supports_attention_backend and model._supports_sdpa  # sdpa has no attention sinks, for one
    return kinds == {"full_attention"} and window is None and not capped and able
