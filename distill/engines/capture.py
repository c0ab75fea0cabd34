"""What an engine keeps of a model's distributions while it samples: takes rows of log-probabilities, gives them to who
writes the completions down.

Legend: N tokens of a completion, K columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ID = "token_id:"
"""How vLLM spells a token where it is asked for ids (`return_tokens_as_token_ids`)."""
MOST_IDS = 1 << 20
"""More token ids than any tokenizer has."""
SLACK = 1e-3
"""By so much a sum of probabilities may be more than 1."""


@dataclass(frozen=True)
class Captured:
    """A completion's token ids as drawn, and at each of them the likeliest ids with the natural logarithms of their
    probabilities, unscaled by any temperature; -1 and -inf where padded."""

    targets_N: NDArray[np.int32]
    ids_NK: NDArray[np.int32]
    logprobs_NK: NDArray[np.float32]


class Capture:
    """Holds what was captured, by the request's id, until it is taken; `k` is how many tokens are kept at each place.

    `blind` counts answers of which nothing could be kept.
    """

    def __init__(self, k: int) -> None:
        self.k, self.blind = k, 0
        self._held: dict[str, Captured] = {}

    def put(self, name: str, captured: Captured | None) -> None:
        """Keeps a completion's rows, or counts that there are none."""
        if captured is None:
            self.blind += 1
        else:
            self._held[name] = captured

    def take(self, name: str) -> Captured | None:
        """The rows of a request, once."""
        return self._held.pop(name, None)


def from_chat(logprobs: Any) -> Captured | None:
    """What a chat completion's `logprobs` hold; None where tokens are not told by their ids, or it makes no sense.

    Spellings are of no use: different tokens may have the same, and half a character has none.
    """
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(content, list) or not content:
        return None
    try:
        targets = [_id(item) for item in content]
        rows = [{_id(top): float(top["logprob"]) for top in item["top_logprobs"]} for item in content]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    width = max(1, max(map(len, rows)))
    ids_NK = np.full((len(rows), width), -1, dtype=np.int32)
    logprobs_NK = np.full((len(rows), width), -np.inf, dtype=np.float32)
    for at, row in enumerate(rows):
        ids_NK[at, : len(row)], logprobs_NK[at, : len(row)] = list(row), list(row.values())
    if not (logprobs_NK <= SLACK).all() or (np.exp(logprobs_NK.astype(np.float64)).sum(axis=1) > 1 + SLACK).any():
        return None
    return Captured(np.array(targets, dtype=np.int32), ids_NK, np.minimum(logprobs_NK, 0))


def _id(item: Any) -> int:
    """A token's id; raises ValueError for what is spelled otherwise, or no id."""
    name, found, number = item["token"].partition(ID)
    if name or not found or not number.isdecimal() or len(number) > 7 or int(number) >= MOST_IDS:
        raise ValueError(f"{item['token']!r} is no token's id")
    return int(number)
