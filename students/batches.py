"""Rendered traces to padded micro-batches: takes token ids, gives what the Trainer's data loader asks for.

Documents never see each other: each is a row of its own, padded on the right, and rows of like length stand together.
Legend: B documents of a micro-batch, T its longest document's tokens.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from students.render import Rendered

IGNORED = -100
"""The label of a position that has no target."""
SMALLEST_MICRO = 2048
"""A micro-batch may always have so many tokens, padding included (or the whole step's, if those are fewer)."""
POOL = 16
"""So many micro-batches' worth of shuffled documents are sorted by length together."""


@dataclass(frozen=True)
class Document:
    """A rendered trace, its ids as int32 to hold millions of them."""

    ids_T: Tensor
    prompt_tokens: int

    @property
    def tokens(self) -> int:
        """Prompt and completion."""
        return int(self.ids_T.shape[0])


class MicroBatches(Dataset[list[Document]]):
    """Each item is one micro-batch, a list of documents; the order and the mixture follow from the seed."""

    def __init__(self, documents: Sequence[Document], batch_tokens: int, seed: int) -> None:
        self.micros = group(documents, min(batch_tokens, max(batch_tokens // 8, SMALLEST_MICRO)), seed)
        self.tokens = sum(document.tokens for document in documents)
        self.batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self.micros)

    def __getitem__(self, index: int) -> list[Document]:
        return self.micros[index]

    def per_step(self, processes: int) -> int:
        """Micro-batches that each of so many processes takes to one optimizer step of about `batch_tokens` tokens."""
        mean = self.tokens / len(self.micros)
        return max(1, min(round(self.batch_tokens / (mean * processes)), -(-len(self.micros) // processes)))


def fitting(rendered: Iterable[Rendered], max_tokens: int) -> tuple[list[Document], int]:
    """The documents of at most `max_tokens` tokens, whole, and how many longer ones were left out."""
    documents, too_long = [], 0
    for one in rendered:
        if len(one.ids) > max_tokens:
            too_long += 1
        else:
            documents.append(Document(torch.tensor(one.ids, dtype=torch.int32), one.prompt_tokens))
    return documents, too_long


def group(documents: Sequence[Document], cap: int, seed: int) -> list[list[Document]]:
    """Documents in micro-batches of at most `cap` tokens with padding; a longer document is one by itself."""
    order = list(documents)
    random.Random(seed).shuffle(order)
    micros: list[list[Document]] = []
    for pool in _pools(order, cap * POOL):
        current: list[Document] = []
        for document in sorted(pool, key=lambda one: one.tokens):
            if current and document.tokens * (len(current) + 1) > cap:
                micros.append(current)
                current = []
            current.append(document)
        micros.append(current)
    return micros


def _pools(documents: Sequence[Document], tokens: int) -> list[list[Document]]:
    """Runs of documents of about so many tokens each."""
    pools: list[list[Document]] = []
    room = 0
    for document in documents:
        if not pools or room <= 0:
            pools.append([])
            room = tokens
        pools[-1].append(document)
        room -= document.tokens
    return pools


def collate(micros: Sequence[Sequence[Document]]) -> dict[str, Tensor]:
    """Micro-batches as input_ids, attention_mask and labels, each [B, T] int64.

    Labels are `IGNORED` off the completion. The padding id is 0: it is neither attended to nor trained.
    """
    documents = [document for micro in micros for document in micro]
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
