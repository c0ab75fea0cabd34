"""Documents to micro-batches: takes token ids, gives what the Trainer's data loader asks for.

Documents never see each other. Where the model's attention takes them one by one (`students.attention`), they stand
in one row without padding; elsewhere each is a row of its own, padded on the right, beside others of like length.
Legend: B documents of a micro-batch, T its longest document's tokens, or all of its tokens in one row.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from students.documents import Document, Documents

IGNORED = -100
"""The label of a position that has no target."""
SMALLEST_MICRO = 2048
"""A micro-batch may always have so many tokens, padding included (or the whole step's, if those are fewer)."""
BLANK_TOKENS = 2
"""So short is a micro-batch in which nothing is trained, for a process that would have none."""
POOL = 16
"""So many micro-batches' worth of shuffled documents are sorted by length together."""


@dataclass(frozen=True)
class Layout:
    """How documents become micro-batches: `packed` into one row or padded, at most so many tokens in each, so many to
    an optimizer step."""

    packed: bool
    micro_tokens: int
    batch_tokens: int

    @classmethod
    def of(cls, packed: bool, batch_tokens: int, micro_tokens: int | None) -> "Layout":
        """The stated number of tokens, or an eighth of a step's and at least `SMALLEST_MICRO`."""
        stated = micro_tokens or max(batch_tokens // 8, SMALLEST_MICRO)
        return cls(packed, min(batch_tokens, stated), batch_tokens)


class MicroBatches(Dataset[list[Document]]):
    """Each item is one micro-batch, a list of documents; the mixture follows from the seed.

    `documents` are read only when they are asked for; `places` are those that are taken of them.
    """

    def __init__(self, documents: Sequence[Document], places: Sequence[int], layout: Layout, seed: int) -> None:
        self._documents = documents
        lengths = np.array(list(lengths_of(documents, places)), dtype=np.int64)
        grouped = (pack if layout.packed else group)(lengths, layout.micro_tokens, seed)
        self.micros = [tuple(int(places[at]) for at in micro) for micro in grouped]
        self.tokens = int(lengths.sum())
        self.layout = layout

    def __len__(self) -> int:
        return len(self.micros)

    def __getitem__(self, at: int | tuple[int, ...]) -> list[Document]:
        """A micro-batch by its number, or the one of these documents; of none, one in which nothing is trained."""
        places = self.micros[at] if isinstance(at, int) else at
        if places:
            return [self._documents[place] for place in places]
        ids_T = self._documents[self.micros[0][0]].ids_T[:BLANK_TOKENS]
        return [Document(ids_T, int(ids_T.shape[0]))]

    def per_step(self) -> int:
        """Micro-batches to one optimizer step of about the stated tokens, or all of them."""
        mean = self.tokens / len(self.micros)
        return max(1, min(round(self.layout.batch_tokens / mean), len(self.micros)))

    def spread(self, step: Sequence[int], into: int) -> list[tuple[int, ...]]:
        """The documents of a step's micro-batches in at least as many others, which may be empty.

        Packed rows are made anew and even, so that no process waits for another (longest first, each into the row with
        the fewest tokens: Graham, 1969), unless one would outgrow a micro-batch. No document comes or goes.
        """
        as_they_are = [*(self.micros[micro] for micro in step), *[()] * (into - len(step))]
        if into == len(step) or not self.layout.packed:
            return as_they_are
        places = [place for micro in step for place in self.micros[micro]]
        lengths = dict(zip(places, lengths_of(self._documents, places), strict=True))
        rows: list[list[int]] = [[] for _ in range(into)]
        filled = [(0, row) for row in range(into)]
        for place in sorted(places, key=lambda one: -lengths[one]):
            tokens, row = heapq.heappop(filled)
            rows[row].append(place)
            heapq.heappush(filled, (tokens + lengths[place], row))
        most = max(self.layout.micro_tokens, *lengths.values())
        return as_they_are if max(filled)[0] > most else [tuple(row) for row in rows]


def lengths_of(documents: Sequence[Document], places: Sequence[int]) -> Iterator[int]:
    """How many tokens each of the documents has, without reading those that are on disk."""
    if isinstance(documents, Documents):
        yield from (int(documents.tokens[place]) for place in places)
    else:
        yield from (documents[place].tokens for place in places)


def group(lengths: Any, cap: int, seed: int) -> list[list[int]]:
    """Places in micro-batches of at most `cap` tokens with padding; a longer document is one by itself."""
    micros: list[list[int]] = []
    for pool in _pools(_shuffled(len(lengths), seed), lengths, cap * POOL):
        current: list[int] = []
        for place in sorted(pool, key=lambda one: int(lengths[one])):
            if current and int(lengths[place]) * (len(current) + 1) > cap:
                micros.append(current)
                current = []
            current.append(place)
        micros.append(current)
    return micros


def pack(lengths: Any, cap: int, seed: int) -> list[list[int]]:
    """Places in micro-batches of at most `cap` tokens without padding; a longer document is one by itself.

    Of each pool the longest come first, each into the first micro-batch that has room (first-fit decreasing).
    """
    micros: list[list[int]] = []
    for pool in _pools(_shuffled(len(lengths), seed), lengths, cap * POOL):
        opened: list[list[int]] = []
        room: list[int] = []
        for place in sorted(pool, key=lambda one: -int(lengths[one])):
            tokens = int(lengths[place])
            at = next((at for at, left in enumerate(room) if left >= tokens), None)
            if at is None:
                opened.append([place])
                room.append(cap - tokens)
            else:
                opened[at].append(place)
                room[at] -= tokens
        micros += opened
    return micros


def _shuffled(count: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def _pools(places: Sequence[int], lengths: Any, tokens: int) -> list[list[int]]:
    """Runs of documents of about so many tokens each."""
    pools: list[list[int]] = []
    room = 0
    for place in places:
        if not pools or room <= 0:
            pools.append([])
            room = tokens
        pools[-1].append(place)
        room -= int(lengths[place])
    return pools


def pad(documents: Sequence[Document]) -> dict[str, Any]:
    """Documents as input_ids, attention_mask and labels, each [B, T] int64.

    Labels are `IGNORED` off the completion. The padding id is 0: it is neither attended to nor trained.
    """
    shape = (len(documents), max(document.tokens for document in documents))
    ids_BT = torch.zeros(shape, dtype=torch.int64)
    mask_BT = torch.zeros(shape, dtype=torch.int64)
    labels_BT = torch.full(shape, IGNORED, dtype=torch.int64)
    for row, document in enumerate(documents):
        end, start = document.tokens, document.prompt_tokens
        ids_BT[row, :end] = document.ids_T
        mask_BT[row, :end] = 1
        labels_BT[row, start:end] = document.ids_T[start:]
    return {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT}


def flatten(documents: Sequence[Document]) -> dict[str, Any]:
    """Documents one after the other as input_ids, position_ids and labels, each [1, T] int64, and their lengths."""
    lengths = [document.tokens for document in documents]
    ids_T = torch.cat([document.ids_T for document in documents]).long()
    labels_T = ids_T.clone()
    for start, document in zip(np.cumsum([0, *lengths[:-1]]).tolist(), documents, strict=True):
        labels_T[start : start + document.prompt_tokens] = IGNORED
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    rows: dict[str, Tensor] = {"input_ids": ids_T, "position_ids": positions_T, "labels": labels_T}
    return {name: row_T[None] for name, row_T in rows.items()} | {"document_lengths": lengths}


def collate(packed: bool, micros: Sequence[Sequence[Document]]) -> dict[str, Any]:
    """Micro-batches as the model's arguments, and the labels."""
    documents = [document for micro in micros for document in micro]
    return flatten(documents) if packed else pad(documents)
