"""What is left of the traces when their texts have been looked at: features in, columns of numbers out.

A candidate takes about 700 bytes and a problem about 650, so that 800 thousand of 400 thousand problems take less than
a gigabyte. `left` says which candidates nothing was decided against; `dedupe` and `select` take what they drop off it.
"""

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.curate.signatures import PERMUTATIONS, Features

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Sketches = npt.NDArray[np.uint32]

_NO_SKETCH = bytes(4 * PERMUTATIONS)


@dataclass(frozen=True)
class Drop:
    """A decision against the candidate at a place. `reason` is one of `records.REASONS`, `detail` a sentence, and
    `beside` the id of the trace or problem that says the same, if that is why."""

    at: int
    reason: str
    detail: str
    beside: str = ""


class Problems:
    """The columns of the problems, in the order in which they came."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.sources: list[str] = []  # by their numbers
        self._number: dict[str, int] = {}
        self._source_number: dict[str, int] = {}
        self._source, self._attempts, self._right = array("i"), array("i"), array("i")
        self._asked = bytearray()
        self._marks, self._content, self._answer = array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self.ids)

    def number(self, name: str) -> int:
        """The place of a problem, which is new where it was not there before."""
        at = self._number.setdefault(name, len(self.ids))
        if at == len(self.ids):
            self.ids.append(name)
            self._source.append(-1)
            self._asked += _NO_SKETCH
            for column in (self._attempts, self._right, self._marks, self._content, self._answer):
                column.append(0)
        return at

    def tried(self, at: int, right: bool) -> None:
        """Counts an attempt at a problem."""
        self._attempts[at] += 1
        self._right[at] += right

    def describe(self, at: int, features: Features) -> None:
        """Fills in what a trace's features say of its problem, once."""
        if self._source[at] >= 0:
            return
        self._source[at] = self._source_number.setdefault(features.source, len(self.sources))
        if self._source[at] == len(self.sources):
            self.sources.append(features.source)
        self._asked[at * len(_NO_SKETCH) : (at + 1) * len(_NO_SKETCH)] = features.asked
        self._marks[at], self._content[at], self._answer[at] = features.marks, features.content, features.answer

    @property
    def source(self) -> Places:
        """The number of each one's source; -1 where no trace of it is a candidate."""
        return _places(self._source)

    @property
    def attempts(self) -> Places:
        """How many traces of each were read and judged."""
        return _places(self._attempts)

    @property
    def right(self) -> Places:
        """How many of these were right."""
        return _places(self._right)

    @property
    def asked(self) -> Sketches:
        """The sketches of the prompts, a row for each."""
        return _sketches(self._asked)

    @property
    def marks(self) -> Numbers:
        """What must be equal in prompts that ask the same."""
        return _bits(self._marks)

    @property
    def content(self) -> Numbers:
        """The words of the prompts."""
        return _bits(self._content)

    @property
    def answer(self) -> Numbers:
        """The reference answers."""
        return _bits(self._answer)


class Candidates:
    """The columns of the candidates, in the order in which they came, and their problems.

    The arrays are views: none may be held while something is added.
    """

    def __init__(self) -> None:
        self.problems = Problems()
        self.ids: list[str] = []
        self._problem, self._tokens, self._numbers = array("i"), array("q"), array("Q")
        self._digests, self._sketches, self._left = bytearray(), bytearray(), bytearray()
        self._ranks: Places = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def add(self, features: Features) -> int:
        """Enters a candidate; gives its place."""
        at = self.problems.number(features.problem_id)
        self.problems.describe(at, features)
        self.ids.append(features.id)
        self._problem.append(at)
        self._tokens.append(features.tokens)
        self._numbers.append(features.numbers)
        self._digests += features.digest
        self._sketches += features.sketch
        self._left.append(1)
        return len(self.ids) - 1

    def tried(self, problem_id: str, *, right: bool) -> None:
        """Counts an attempt at a problem, whether a trace of it becomes a candidate or not."""
        self.problems.tried(self.problems.number(problem_id), right)

    def drop(self, places: Places) -> None:
        """Takes candidates off what is left."""
        self.left[places] = False

    @property
    def left(self) -> npt.NDArray[np.bool_]:
        """Whether nothing was decided against each; may be written to."""
        flags: npt.NDArray[np.bool_] = np.frombuffer(self._left, np.bool_)
        return flags

    @property
    def problem(self) -> Places:
        """The place of each one's problem."""
        return _places(self._problem)

    @property
    def tokens(self) -> Places:
        """The length of each, by the student's tokenizer."""
        return _places(self._tokens)

    @property
    def numbers(self) -> Numbers:
        """The numbers in the reasoning of each."""
        return _bits(self._numbers)

    @property
    def digests(self) -> Numbers:
        """The digests, a row of two numbers for each."""
        return _bits(self._digests).reshape(-1, 2)

    @property
    def sketches(self) -> Sketches:
        """The sketches of the reasoning, a row for each."""
        return _sketches(self._sketches)

    def ranks(self) -> Places:
        """Each one's place in the order of the ids: what decides ties, whatever the order of arrival. Where ids are the
        same, the digests decide."""
        if len(self._ranks) != len(self):
            ids, digests = self.ids, self._digests
            order = sorted(range(len(ids)), key=lambda at: (ids[at], bytes(digests[16 * at : 16 * at + 16])))
            self._ranks = np.empty(len(ids), np.int64)
            self._ranks[order] = np.arange(len(ids))
        return self._ranks


def _places(column: "array[int]") -> Places:
    return np.array(column, np.int64)


def _bits(column: "array[int] | bytearray") -> Numbers:
    bits: Numbers = np.frombuffer(column, np.uint64)
    return bits


def _sketches(column: bytearray) -> Sketches:
    rows: Sketches = np.frombuffer(column, np.uint32).reshape(-1, PERMUTATIONS)
    return rows
