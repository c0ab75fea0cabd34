"""Whether a teacher's token ids mean what the student's mean: takes two tokenizers, gives how one's ids become the
other's, or says what to do instead.

Legend: S ids that both have, T ids that the teacher's tokenizer assigns, N positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill import prompts, think
from distill.errors import InputError
from distill.recipe import located

Ids = NDArray[np.int32]
NONE = -1
_INSTEAD = "take a teacher with the student's own tokenizer, or write objective: {kind: sft}, which needs no common one"


@dataclass(frozen=True)
class Vocabulary:
    """Which of the teacher's ids are the student's. Rows of an embedding beyond its tokenizer are nobody's: models of
    one family are padded differently (Qwen2.5: 151,936 and 152,064 rows).

    `assigned_T` are the ids of the teacher's tokenizer, `shared_S` those of them that the student has too, `names_S`
    the student's ids for these, `size` is the student's highest id and one.
    """

    assigned_T: Ids
    shared_S: Ids
    names_S: Ids
    size: int

    @property
    def same(self) -> bool:
        """Whether the distributions of teacher and student stand over the same ids, without a gap."""
        return len(self.assigned_T) == len(self.shared_S) == self.size and np.array_equal(self.shared_S, self.names_S)

    def to_student(self) -> Ids:
        """The student's id for each of the teacher's, -1 where it has none."""
        ids = np.full(int(self.assigned_T.max()) + 1, NONE, dtype=np.int32)
        ids[self.shared_S] = self.names_S
        return ids

    def to_teacher(self) -> Ids:
        """The teacher's id for each of the student's, -1 where it has none."""
        ids = np.full(self.size, NONE, dtype=np.int32)
        ids[self.names_S] = self.shared_S
        return ids


def load_tokenizer(key: str, name: str, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """A tokenizer with a chat template and an EOS; raises InputError, naming the recipe's key, where there is none."""
    from transformers import AutoTokenizer

    path = located(key, name)
    options: dict[str, Any] = {"revision": revision or "main", "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:  # whatever transformers raises is told in one sentence, with its cause kept
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{key}: the tokenizer of {name} cannot be loaded from a folder or the Hub: {reason}"
        ) from error
    if not tokenizer.chat_template or tokenizer.eos_token_id is None:
        lack = "an end-of-sequence token" if tokenizer.chat_template else "a chat template"
        raise InputError(f"{key}: the tokenizer of {name} has no {lack.split(' ', 1)[1]}; write one that has {lack}")
    return tokenizer


def common(teacher: Any, student: Any) -> Vocabulary:
    """How the ids of two tokenizers belong together.

    The ends of the sequence are one token, whatever they are called: a base model's and a chat model's differ. Apart
    from added tokens the two must be equal, and an added token that both have must have one id, since ids in the
    student's traces are fed to the teacher: so R1's distilled Qwen models teach Qwen2.5. Raises InputError for other
    tokenizers, naming the first token that differs and what to do.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        _check_equal(_base(teacher), _base(student), "the teacher's tokenizer is another one than the student's")
        both = theirs.keys() & ours.keys()
        _check_equal(
            {token: theirs[token] for token in both},
            {token: ours[token] for token in both},
            "a token that was added to the teacher's tokenizer has another id in the student's",
        )
        _check_close(teacher, student)
    names = {theirs[token]: at for token, at in ours.items() if token in theirs}
    if teacher.eos_token_id != student.eos_token_id:
        names = {at: name for at, name in names.items() if name != student.eos_token_id}
        names[teacher.eos_token_id] = student.eos_token_id
    shared = np.array(sorted(names), dtype=np.int32)
    return Vocabulary(
        assigned_T=np.array(sorted(set(theirs.values())), dtype=np.int32),
        shared_S=shared,
        names_S=np.array([names[int(at)] for at in shared], dtype=np.int32),
        size=max(ours.values()) + 1,
    )


def align(ours: Sequence[int] | Ids, theirs: Sequence[int] | Ids) -> tuple[Ids, Ids]:
    """Which positions of two token sequences of one text are the same token: places in the first, places in the second.

    What is equal from the front and from the back is matched at once, and by difflib what lies between.
    """
    one, other = np.asarray(ours, dtype=np.int64), np.asarray(theirs, dtype=np.int64)
    shorter = min(len(one), len(other))
    front = _equal_run(one[:shorter] == other[:shorter])
    back = _equal_run((one[len(one) - shorter + front :] == other[len(other) - shorter + front :])[::-1])
    pairs = [(at, at) for at in range(front)]
    between = one[front : len(one) - back].tolist(), other[front : len(other) - back].tolist()
    if all(between):
        for run in SequenceMatcher(None, *between).get_matching_blocks():
            pairs += [(front + run.a + at, front + run.b + at) for at in range(run.size)]
    pairs += [(len(one) - at, len(other) - at) for at in range(back, 0, -1)]
    places = np.array(pairs, dtype=np.int32).reshape(-1, 2)
    return places[:, 0], places[:, 1]


def _equal_run(equal: NDArray[np.bool_]) -> int:
    """How many are true from the beginning."""
    return len(equal) if equal.all() else int(equal.argmin())


def _base(tokenizer: Any) -> dict[str, int]:
    added = tokenizer.added_tokens_decoder
    return {token: at for token, at in tokenizer.get_vocab().items() if at not in added}


def _check_equal(theirs: dict[str, int], ours: dict[str, int], what: str) -> None:
    if theirs == ours:
        return
    _, token = min(
        (min(known.get(token, 1 << 31) for known in (theirs, ours)), token)
        for token in theirs.keys() | ours.keys()
        if theirs.get(token) != ours.get(token)
    )
    places = [f"has the id {known[token]} in" if token in known else "is not in" for known in (theirs, ours)]
    raise InputError(
        f"objective: kd: {what}: {token!r} {places[0]} the teacher's and {places[1]} the student's; {_INSTEAD}"
    )


def _check_close(teacher: Any, student: Any) -> None:
    """A student that closes its thinking by a token of its own needs a teacher that does so by the same token."""
    theirs, ours = (prompts.ids(tokenizer, think.CLOSE, plain=False) for tokenizer in (teacher, student))
    if len(ours) == 1 and ours != theirs:
        raise InputError(
            f"objective: kd: {think.CLOSE} is one token to the student, {ours[0]}, and another or several to the "
            f"teacher; {_INSTEAD}"
        )
