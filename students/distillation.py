"""The objective `kd`: takes the teacher's sealed signals, gives what a micro-batch needs of them, and the loss.

Legend: N positions that have a target, K columns of the teacher's support, padded with -1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill.errors import DistillError
from distill.signals import Signal, Signals
from distill.student_sections import Kd
from students.batches import collate
from students.divergence import Mixture, Targets, chunked_distillation
from students.documents import Document
from students.trainer import trained


@dataclass(frozen=True)
class Distillation:
    """Cross entropy on the traces mixed with the divergence from the teacher's stored distributions."""

    signals: Signals
    mixture: Mixture

    @classmethod
    def of(cls, section: Kd, folder: Path) -> "Distillation":
        """Raises ShardError for signals that are not sealed or were written by another version."""
        mixture = Mixture(section.cross_entropy, section.temperature, section.divergence, section.jsd_beta)
        return cls(Signals(folder), mixture)

    def collate(self, packed: bool, micros: Sequence[Sequence[Document]]) -> dict[str, Any]:
        """Micro-batches with their signals, position by position in the order of the labels.

        Raises DistillError for signals that were taken of other tokens.
        """
        documents = [document for micro in micros for document in micro]
        found = [self._signal(document) for document in documents]
        columns = max(signal.ids_NK.shape[1] for signal in found)
        signal = {
            "ids_NK": _stacked([_widened(one.ids_NK, columns, -1) for one in found]).long(),
            "logprobs_NK": _stacked([_widened(one.logprobs_NK, columns, -np.inf) for one in found]),
            "tail_N": _stacked([one.tail_N for one in found]),
            "known_N": _stacked([one.known_N for one in found]),
        }
        return {**collate(packed, micros), "signal": signal}

    def __call__(self, hidden_BTD: Tensor, head_weight_VD: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, int]:
        """The objective: see `students.trainer.Objective`."""
        hidden_ND, targets_N = trained(hidden_BTD, batch["labels"])
        targets = Targets(targets_N, **batch["signal"])
        vocabulary = min(self.signals.vocabulary, head_weight_VD.shape[0])
        loss = chunked_distillation(hidden_ND, head_weight_VD, targets, self.mixture, vocabulary)
        return loss, int(targets_N.numel())

    def _signal(self, document: Document) -> Signal:
        """A document's signal; one that has none is trained on its own tokens alone."""
        targets_N = document.ids_T[document.prompt_tokens :].numpy()
        if document.trace not in self.signals:
            return _nothing(targets_N)
        signal = self.signals.read(document.trace)
        if not np.array_equal(signal.targets_N, targets_N):
            raise DistillError(
                f"the teacher's signals of trace {document.trace} are of other tokens than are trained; delete the "
                "run's folder `signals`, and the same command scores the traces again"
            )
        return signal


def _nothing(targets_N: Any) -> Signal:
    count = len(targets_N)
    return Signal(
        targets_N,
        np.full((count, 1), -1, np.int32),
        np.full((count, 1), -np.inf, np.float32),
        np.zeros(count, np.float32),
        np.zeros(count, np.bool_),
    )


def _widened(values_NK: Any, columns: int, fill: float) -> Any:
    return np.pad(values_NK, ((0, 0), (0, columns - values_NK.shape[1])), constant_values=fill)


def _stacked(parts: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts))
