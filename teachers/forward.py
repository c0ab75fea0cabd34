"""A teacher on this machine reads texts: takes readings, gives its distribution at each token of their completions.

One forward pass for a batch of readings of like length, padded on the right: no token sees what follows it, so the
padding needs no mask. The head is applied to some positions at a time, so that the logits of all never exist at once.
Legend: B readings, L tokens, D hidden width, C positions of a chunk, V rows of the head, S shared ids, K kept ones.
"""

import math
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.errors import DistillError, InputError
from teachers.readings import LOST, Reading, Rows
from teachers.vocabulary import Vocabulary

WINDOW = 16
"""So many batches' worth of readings are sorted by length together."""
BATCH_TOKENS = 16_384
"""A batch of several readings has at most so many tokens, padding included; more make no GPU faster."""
CHUNK_LOGITS = 2**25
"""So many logits at once: 128 MiB in float32."""


class Forward:
    """A loaded causal model that reads. Raises InputError for one whose logits are not its head's alone."""

    def __init__(self, model: Any, name: str, vocabulary: Vocabulary, k: int, batch_size: int) -> None:
        self.model, self.name, self.batch_size = model.eval(), name, batch_size
        self.k = min(k, len(vocabulary.shared_S))
        self.longest: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        self._base, self._head = model.base_model, model.get_output_embeddings()
        self._device = model.get_input_embeddings().weight.device
        self._check()
        self._names_S = vocabulary.names_S
        self._same = vocabulary.same
        self._shared_S = torch.from_numpy(vocabulary.shared_S).long().to(self._device)
        self._assigned_T = torch.from_numpy(vocabulary.assigned_T).long().to(self._device)

    def score(self, readings: Iterable[Reading]) -> Generator[tuple[Reading, Rows], None, None]:
        """Every reading once, with the rows that the model's context holds.

        Raises DistillError when the memory does not suffice or the model gives no numbers.
        """
        for batch in self._batches(readings):
            try:
                scored = self._pass(batch)
            except torch.OutOfMemoryError as error:
                raise DistillError(
                    f"{self.name} runs out of memory reading {len(batch)} traces of {len(batch[0].ids):,} tokens; "
                    f"write a smaller teacher.batch_size than {self.batch_size}, or quantization: nf4"
                ) from error
            yield from zip(batch, scored, strict=True)

    def _batches(self, readings: Iterable[Reading]) -> Iterator[list[Reading]]:
        """Batches of like length, the longest of a window first."""
        stream = iter(readings)
        while window := list(islice(stream, WINDOW * self.batch_size)):
            batch: list[Reading] = []
            for reading in sorted(window, key=lambda reading: -len(reading.ids)):
                most = max(1, min(self.batch_size, BATCH_TOKENS // len(batch[0].ids))) if batch else 1
                if len(batch) >= most and batch:
                    yield batch
                    batch = []
                batch.append(reading)
            if batch:
                yield batch

    @torch.inference_mode()
    def _pass(self, batch: list[Reading]) -> list[Rows]:
        read = [reading.ids[:-1][: self.longest] for reading in batch]
        ids_BL = torch.zeros(len(batch), max(map(len, read)), dtype=torch.long)
        for row, ids in enumerate(read):
            ids_BL[row, : len(ids)] = torch.tensor(ids)
        hidden_BLD = self._hidden(ids_BL.to(self._device))
        spans = [(len(reading.prompt) - 1, len(ids)) for reading, ids in zip(batch, read, strict=True)]
        hidden = [hidden_BLD[row, start:end] for row, (start, end) in enumerate(spans)]
        rows = self._rows(torch.cat(hidden))
        ends = np.cumsum([len(one) for one in hidden])
        return [Rows(*(part[end - len(one) : end] for part in rows)) for one, end in zip(hidden, ends, strict=True)]

    def _hidden(self, ids_BL: Tensor) -> Tensor:
        hidden_BLD: Tensor = self._base(input_ids=ids_BL, use_cache=False).last_hidden_state
        return hidden_BLD

    def _rows(self, hidden_ND: Tensor) -> tuple[Any, Any, Any, Any]:
        """Ids, log-probabilities, tails, and whether they are known, of all positions, a chunk at a time."""
        chunk = max(1, CHUNK_LOGITS // self._head.weight.shape[0])
        parts = [self._chunk(hidden_CD) for hidden_CD in torch.split(hidden_ND, chunk)]
        ids, logprobs, tails, known = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return self._names_S[ids], logprobs, tails, known

    def _chunk(self, hidden_CD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits_CV = self._head(hidden_CD).float()
        if self._same:
            logits_CS = logits_CV[:, : len(self._shared_S)]
            all_C = total_C = logits_CS.logsumexp(-1)
        else:
            logits_CS = logits_CV[:, self._shared_S.to(logits_CV.device)]
            total_C = logits_CS.logsumexp(-1)
            all_C = logits_CV[:, self._assigned_T.to(logits_CV.device)].logsumexp(-1)
        if not bool(all_C.isfinite().all()):
            raise DistillError(f"{self.name} gives no numbers (NaN or infinite); write quantization: none")
        top = logits_CS.topk(self.k)
        logits_CS.scatter_(1, top.indices, -math.inf)
        tail_C = logits_CS.logsumexp(-1) - total_C
        return top.indices, top.values - total_C[:, None], tail_C, total_C - all_C >= math.log(LOST)

    @torch.inference_mode()
    def _check(self) -> None:
        """Some models rescale or cap what their head gives: then the head alone is not their distribution."""
        ids_BL = torch.arange(4, device=self._device)[None]
        if self._head is not None and self._base is not self.model:
            logits_LV = self.model(input_ids=ids_BL, use_cache=False).logits[0].float()
            ours_LV = self._head(self._hidden(ids_BL)[0]).float().to(logits_LV.device)
            if ours_LV.shape == logits_LV.shape and torch.allclose(ours_LV, logits_LV, rtol=0.02, atol=0.02):
                return
        raise InputError(
            f"{self.name} changes its logits after its head (by a cap or a scale, say), which cannot be scored here; "
            "serve it by vLLM and write teacher: {kind: endpoint, ...}"
        )
