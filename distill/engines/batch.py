"""Rows that a model decodes together: takes rows with their prompts, gives what each forward pass takes.

Shapes: N rows, P distinct prompts, W columns (all tokens so far, padded on the left), T columns that are new, V words.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from distill.records import Finish, Request

SPARE = 64  # columns


@dataclass
class Row:
    """A request on its way: its prompt's token ids, how many may follow, and those drawn so far."""

    request: Request
    prompt: list[int]
    room: int
    random: random.Random
    drawn: list[int] = field(default_factory=list)
    finish: Finish | None = None


class _SpareLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's cache with spare columns at its end: transformers' own copies all that it holds for every new token.

    Whoever sets `keys` and `values` anew need not know: the next token finds that they are not its own.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._stores: tuple[torch.Tensor, torch.Tensor] = (keys, values)
        self._own: torch.Tensor | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Writes the new columns behind those that are there; gives all."""
        before = self.keys.shape[-2]
        after = before + key_states.shape[-2]
        if self.keys is not self._own or after > self._stores[0].shape[-2]:
            self._stores = (_spacious(self.keys, after + SPARE), _spacious(self.values, after + SPARE))
        for store, new in zip(self._stores, (key_states, value_states), strict=True):
            store[:, :, before:after] = new
        self.keys, self.values = (store[:, :, :after] for store in self._stores)
        self._own = self.keys
        return self.keys, self.values


class Batch:
    """Rows with the cache of the passes made so far. The first pass reads each distinct prompt once.

    `plain` says whether the cache holds one entry for each column and no other state: only such rows can be moved
    sideways. A sliding window or a recurrent state also holds how far it has come, which is one number for all rows.
    """

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self.rows = list(rows)
        places: dict[tuple[int, ...], int] = {}
        self._places = [places.setdefault(tuple(row.prompt), len(places)) for row in rows]
        width = max(len(prompt) for prompt in places)
        blanks = [width - len(prompt) for prompt in places]
        ids = [[0] * blank + list(prompt) for blank, prompt in zip(blanks, places, strict=True)]  # masked: any id does
        mask = [[0] * blank + [1] * (width - blank) for blank in blanks]
        self.ids_NT, self.mask_NW = torch.tensor(ids, device=device), torch.tensor(mask, device=device)
        self.cache: Any = None
        self.plain = False

    @property
    def width(self) -> int:
        """Columns, with the newest token's."""
        return self.mask_NW.shape[1]

    @property
    def alive(self) -> int:
        """Rows that have not ended."""
        return sum(row.finish is None for row in self.rows)

    def inputs(self) -> dict[str, Any]:
        """The next forward pass's arguments."""
        return {
            "input_ids": self.ids_NT,
            "attention_mask": self.mask_NW,
            "position_ids": (self.mask_NW.cumsum(-1) - 1).clamp(min=0)[:, -self.ids_NT.shape[1] :],
            "past_key_values": self.cache,
            "use_cache": True,
        }

    def passed(self, cache: Any, logits_PV: torch.Tensor) -> torch.Tensor:
        """Takes what a pass gave, its cache and last logits; gives the logits of every row."""
        if self.cache is None:
            self.cache = cache
            self.plain = type(cache) is DynamicCache and all(
                type(layer) is DynamicLayer and layer.get_seq_length() == self.width for layer in cache.layers
            )
            if len(self._places) > logits_PV.shape[0]:
                logits_PV = self._repeat(logits_PV)
            if self.plain:
                cache.layers = [_SpareLayer(layer.keys, layer.values) for layer in cache.layers]
        return logits_PV

    def _repeat(self, logits_PV: torch.Tensor) -> torch.Tensor:
        places = torch.tensor(self._places, device=self.mask_NW.device)
        self.mask_NW = self.mask_NW[places]
        self.cache.reorder_cache(places)
        return logits_PV[places.to(logits_PV.device)]

    def feed(self, tokens: Sequence[int]) -> None:
        """Puts each row's newest token up for the next pass."""
        self.ids_NT = torch.tensor(tokens, device=self.mask_NW.device)[:, None]
        self.mask_NW = torch.cat([self.mask_NW, torch.ones_like(self.mask_NW[:, :1])], dim=-1)

    def tidy(self) -> None:
        """Lets ended rows go, and with them the leading columns that are padding for all that stay."""
        alive = [at for at, row in enumerate(self.rows) if row.finish is None]
        places = torch.tensor(alive, device=self.mask_NW.device)
        self.rows = [self.rows[at] for at in alive]
        self.ids_NT, self.mask_NW = self.ids_NT[places], self.mask_NW[places]
        self.cache.reorder_cache(places)  # every kind of layer has it, and it knows the layer's device
        lead = int(self.mask_NW.argmax(-1).min()) if self.plain else 0
        if lead:
            self.mask_NW = self.mask_NW[:, lead:]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[:, :, lead:], layer.values[:, :, lead:]

    def waste(self, narrower: "Batch") -> int:
        """Bytes of cache that would be padding if another batch's rows were taken in."""
        entries: int = sum(layer.keys[0, :, 0].nbytes + layer.values[0, :, 0].nbytes for layer in self.cache.layers)
        return entries * len(narrower.rows) * (self.width - narrower.width)

    def take_in(self, narrower: "Batch") -> None:
        """Adds another batch's rows, which have as many columns or fewer; the newest tokens stand in the last."""
        blank = self.width - narrower.width
        for mine, its in zip(self.cache.layers, narrower.cache.layers, strict=True):
            mine.keys = torch.cat([mine.keys, pad(its.keys, (0, 0, blank, 0))])
            mine.values = torch.cat([mine.values, pad(its.values, (0, 0, blank, 0))])
            its.keys = its.values = None  # frees them layer by layer
        self.ids_NT = torch.cat([self.ids_NT, narrower.ids_NT])
        self.mask_NW = torch.cat([self.mask_NW, pad(narrower.mask_NW, (blank, 0))])
        self.rows += narrower.rows


def _spacious(entries: torch.Tensor, columns: int) -> torch.Tensor:
    store = entries.new_empty((*entries.shape[:2], columns, entries.shape[3]))
    store[:, :, : entries.shape[2]] = entries
    return store
