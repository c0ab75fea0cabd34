"""A teacher behind vLLM reads texts: takes readings, gives its distribution at each token of their completions.

vLLM's own field of /v1/completions, `prompt_logprobs: K`, has for each token of the prompt but the first the K
likeliest tokens and the one that stands there, with natural logarithms of their probabilities.
Legend: M completion tokens of the teacher, K columns.
"""

import re
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import numpy as np

from distill.engines import connection, reply
from distill.engines.asking import Asker
from distill.engines.reply import Refusal, Trouble
from distill.errors import EngineError
from distill.records import Failure
from distill.teacher_sections import EndpointTeacher
from teachers.readings import Reading, Rows, shared_rows
from teachers.vocabulary import NONE, Vocabulary

ENTRIES = 4_000_000
"""So many log-probabilities may be in flight at once."""
ENTRY_BYTES = 60
"""What each takes at least in the answer's JSON; once it is read it takes several times as much."""
SLACK = 1e-3
"""By so much a sum of probabilities may be more than 1."""
_TOO_MANY = re.compile(r"prompt.?logprobs.{0,80}(greater|more|max|exceed)|more than \d+ prompt.?logprobs", re.I | re.S)
_INSTEAD = (
    "serve the teacher by vLLM, write teacher: {kind: local, ...} in student.objective, or signals: captured with "
    "teacher.capture_logprobs"
)


class PromptLogprobs(Asker[Reading, Rows]):
    """Asks a server for the `k` likeliest tokens at each place, and keeps those that the student has."""

    def __init__(
        self,
        section: EndpointTeacher,
        api_key: str | None,
        vocabulary: Vocabulary,
        k: int,
        *,
        first_pause_s: float = 1.0,
        **told: Any,
    ) -> None:
        super().__init__(section, api_key, "completions", first_pause_s=first_pause_s, **told)
        self.k = k
        self._to_student = vocabulary.to_student()

    def score(self, readings: Iterable[Reading]) -> Generator[tuple[Reading, Rows | Failure], None, None]:
        """Every reading once, in the order of arrival; a Failure is one reading's.

        Raises EngineError for a server that cannot give this, saying what to do instead.
        """
        return self.ask(readings)

    def body(self, request: Reading) -> dict[str, Any]:
        """Token ids, never a text that the server would take apart in its own way; one token has to be drawn."""
        fits = int(connection.LONGEST_BODY / (len(request.ids) * ENTRY_BYTES)) - 1
        if self.k > fits:
            raise EngineError(
                f"the trace {request.id} has {len(request.ids):,} tokens, and {self.k} log-probabilities for each are "
                f"more than an answer may hold; write student.objective.k: {fits}, or a smaller student.max_tokens"
            )
        return {
            **self.section.extra_body,
            "model": self.section.model,
            "prompt": list(request.ids),
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": self.k,
        }

    def worst(self, request: Reading) -> int:
        """All that is read and the one token that is drawn."""
        return len(request.ids) + 1

    def billed(self, request: Reading, answer: Rows) -> int:
        """The same."""
        return self.worst(request)

    def weight(self, request: Reading) -> float:
        """Its share of ENTRIES."""
        return len(request.ids) * (self.k + 1) / ENTRIES

    def is_ones_own(self, error: EngineError) -> bool:
        """As everywhere, but for the number of log-probabilities, which is the same in every request."""
        return super().is_ones_own(error) and not _TOO_MANY.search(str(error))

    def explained(self, error: EngineError) -> EngineError:
        """What a refused number of log-probabilities means."""
        if isinstance(error, Refusal) and _TOO_MANY.search(str(error)):
            return EngineError(
                f"the server gives fewer log-probabilities than student.objective.k: {self.k}; start vLLM with "
                f"--max-logprobs {self.k}, or write a smaller k (the server says: {error})"
            )
        return error

    def read(self, request: Reading, data: dict[str, Any]) -> Rows:
        """The rows of the completion; raises Trouble for a body that holds something else."""
        reply.check_model(data, self.section.model, self.section.allow_other_model)
        stated = data["choices"][0].get("prompt_logprobs")
        if stated is None:
            raise EngineError(f"the server at {self.section.base_url} gives no prompt_logprobs; {_INSTEAD}")
        if not isinstance(stated, list) or len(stated) != len(request.ids):
            count = len(stated) if isinstance(stated, list) else type(stated).__name__
            raise Trouble("BadBody", f"prompt_logprobs has {count} entries for {len(request.ids)} tokens")
        return self._rows(stated[len(request.prompt) :])

    def _rows(self, stated: list[Any]) -> Rows:
        ids_MK, logprobs_MK = _parsed(stated, self.k + 1)  # the token that stands there comes on top
        if (np.exp(logprobs_MK).sum(axis=1) > 1 + SLACK).any():
            raise Trouble("BadBody", "prompt_logprobs holds probabilities of more than 1 in all")
        return shared_rows(ids_MK, logprobs_MK, self._to_student)


def _parsed(stated: list[Any], width: int) -> tuple[Any, Any]:
    """Ids [M, K] and log-probabilities [M, K], -1 and -inf where padded; raises Trouble for what is no distribution."""
    for entry in stated:
        if not isinstance(entry, Mapping) or not 0 < len(entry) <= width:
            raise Trouble("BadBody", f"prompt_logprobs holds {str(entry)[:100]} where a token's alternatives belong")
    ids_MK = np.full((len(stated), width), NONE, dtype=np.int64)
    logprobs_MK = np.full((len(stated), width), -np.inf)
    filled_MK = np.arange(width) < np.array([len(entry) for entry in stated], dtype=np.int64)[:, None]
    try:
        ids_MK[filled_MK] = [int(name) for entry in stated for name in entry]
        logprobs_MK[filled_MK] = [float(said["logprob"]) for entry in stated for said in entry.values()]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Trouble("BadBody", f"prompt_logprobs holds what is no token with its logprob ({error})") from error
    if (ids_MK[filled_MK] < 0).any() or np.isnan(logprobs_MK).any() or (logprobs_MK > SLACK).any():
        raise Trouble("BadBody", "prompt_logprobs holds an id or a logprob that cannot be")
    sorted_MK = np.sort(ids_MK, axis=1)
    if ((sorted_MK[:, 1:] == sorted_MK[:, :-1]) & (sorted_MK[:, 1:] != NONE)).any():
        raise Trouble("BadBody", "prompt_logprobs holds a token twice at one place")
    return ids_MK, logprobs_MK
