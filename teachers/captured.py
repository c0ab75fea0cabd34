"""A teacher's distributions that were kept while it was sampled: a sidecar beside the traces is written and read here.

The sidecar's targets are the teacher's own token ids, as it drew them. At scoring they are aligned with the student's
tokens of the rendered trace: what is not the same token there has no signal.
"""

import dataclasses
from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np

from distill.engines.capture import MOST_IDS, Captured
from distill.errors import InputError
from distill.signals import Signals, SignalSettings, SignalWriter
from teachers.readings import Reading, Rows, shared_rows
from teachers.vocabulary import Vocabulary, align

SETTINGS = SignalSettings(k=4096, mass=1.0, kl_nats=1e-4)
"""Nearly all that an engine gave is kept; the recipe's own settings hold for the cache that is made of it."""


class Sidecar:
    """The folder of what was captured; made when the first trace comes, gone on with whenever there is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: SignalWriter | None = None

    def add(self, name: str, captured: Captured | None) -> None:
        """Takes what was captured of a trace that stands in the journal already; nothing where there is none."""
        if captured is not None and name not in self.open().done:
            known_N = np.asarray((captured.ids_NK >= 0).any(axis=1), dtype=np.bool_)
            self.open().add(name, captured.targets_N, captured.ids_NK, captured.logprobs_NK, known_N=known_N)

    def take_over(self, other: Path) -> None:
        """Takes in what another folder holds, sealed or not."""
        if not other.exists():
            return
        sidecar = Sidecar(other)
        names = sorted(sidecar.open().done)
        sidecar.close()
        theirs, writer = Signals(other), self.open()
        for name in names:
            if name not in writer.done:
                signal = theirs.read(name)
                writer.add(name, signal.targets_N, signal.ids_NK, signal.logprobs_NK, signal.tail_N, signal.known_N)

    def close(self) -> None:
        """Seals what is there."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def open(self) -> SignalWriter:
        """Makes the folder, or goes on with what is there, sealed or not."""
        if self._writer is None:
            (self.folder / "manifest.json").unlink(missing_ok=True)
            self._writer = SignalWriter(self.folder, vocabulary=MOST_IDS, settings=SETTINGS, facts={})
        return self._writer


class CapturedScorer:
    """Reads a sealed sidecar as if a teacher were asked. Raises InputError where there is none."""

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        signals = Signals(folder) if (folder / "manifest.json").exists() else None
        if not signals:
            raise InputError(
                "signals: captured: nothing was captured while these traces were sampled; write signals: score, or "
                "teacher.capture_logprobs: 20 and sample anew"
            )
        self._signals = signals
        self._to_student, self._to_teacher = vocabulary.to_student(), vocabulary.to_teacher()

    def score(self, readings: Iterable[Reading]) -> Generator[tuple[Reading, Rows | None], None, None]:
        """Every reading, with what was captured at its tokens; None where nothing was."""
        for reading in readings:
            if reading.id not in self._signals:
                yield reading, None
                continue
            signal = self._signals.read(reading.id)
            ours, theirs = align(self._to_teacher[reading.targets_N], signal.targets_N)
            drawn = tuple(signal.targets_N.tolist())
            rows = shared_rows(signal.ids_NK, signal.logprobs_NK, self._to_student)
            yield dataclasses.replace(reading, completion=drawn, ours=ours, theirs=theirs), rows
