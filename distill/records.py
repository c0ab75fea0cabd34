"""The records that go from stage to stage, one per arrow, and the Protocols by which rooms meet.

Everything here is frozen and knows no file, no model and no recipe. Derived values are properties.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

RECORDS_VERSION = 2

AnswerKind = Literal["math", "choice", "text", "rule"]
Finish = Literal["stop", "length"]
Outcome = Literal["pass", "fail", "undecided"]
Domain = Literal["math", "logic", "other"]

DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."
"""What R1's makers recommend to add to a problem (DeepSeek-R1 README, usage recommendations)."""


def asked(prompt: str) -> str:
    """A question as every model is sent it: followed by the directive."""
    return f"{prompt}\n{DIRECTIVE}"


def estimated_tokens(text: str) -> int:
    """A token for every three bytes. R1's own have 3.3 on GSM8K and 4.6 on logic puzzles: it is rather too many."""
    return -(-len(text.encode("utf-8", "replace")) // 3)


def storable(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and no file can."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def printable(text: str, also: str = "\n\t") -> str:
    """Text from a model or a file without the control characters that could steer a terminal, but for `also`."""
    return "".join(letter for letter in text if letter.isprintable() or letter in also)


REASONS = (
    "unfinished",
    "no_answer",
    "api_error",
    "no_reasoning",
    "broken_tags",
    "special_tokens",
    "code",
    "long_paragraph",
    "repetition",
    "mixed_language",
    "too_short",
    "too_long",
    "contaminated",
    "wrong_answer",
    "unverifiable",
    "judge_failed",
    "duplicate",
    "near_duplicate",
    "off_difficulty",
    "enough_for_problem",
    "off_mix",
    "off_balance",
    "over_budget",
)
"""The closed list of reasons for which curation drops a trace, in the order in which they are tried."""


@dataclass(frozen=True)
class Problem:
    """A question with a checkable answer. `meta` is JSON; for `rule` answers it carries what the rule needs."""

    id: str
    prompt: str
    answer: str
    answer_kind: AnswerKind
    source: str
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, prompt: str, answer: str, answer_kind: AnswerKind, source: str, **meta: Any) -> "Problem":
        """A problem with the id of its content: the same prompt, whatever its white space, is the same problem."""
        digest = hashlib.sha256(" ".join(prompt.split()).encode()).hexdigest()[:16]
        return cls(digest, prompt, answer, answer_kind, source, meta)

    @property
    def ask(self) -> str:
        """What the model is sent, in sampling, in training and in the gate alike."""
        return asked(self.prompt)


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn: R1's own way by default (arXiv 2501.12948, section 3). `max_tokens` counts reasoning and
    answer together."""

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32768


@dataclass(frozen=True)
class Request:
    """One attempt at one prompt. `prompt` is the user's turn; the engine renders it."""

    id: str
    prompt: str
    seed: int
    sampling: Sampling


@dataclass(frozen=True)
class Completion:
    """What came back. Token counts are None where the server did not say, or cannot be right. `model` is the served
    model's own name, and `provider` says whose machine it ran on, as far as is known."""

    reasoning: str
    answer: str
    finish: Finish
    prompt_tokens: int | None
    completion_tokens: int | None
    model: str
    clean: bool = True
    provider: str = ""

    @property
    def probable_tokens(self) -> int:
        """The stated count of completion tokens, or an estimate from the text: what is not stated is never nothing."""
        if self.completion_tokens is not None:
            return self.completion_tokens
        return estimated_tokens(self.reasoning) + estimated_tokens(self.answer)

    @property
    def unfinished(self) -> bool:
        """Cut off by the token limit, or its thinking never closed."""
        return self.finish == "length" or (bool(self.reasoning) and not self.answer)


@dataclass(frozen=True)
class Failure:
    """An attempt that ended without a completion, after its retries."""

    id: str
    error: str
    message: str
    attempts: int


@dataclass(frozen=True)
class Expense:
    """One line of the spend ledger, in tokens, so that a changed price holds for all of it.

    A request's worst case is written before it is sent, and the difference to what it did cost when it ends: the sum
    over the ledger is what was spent, with what a killed process had in flight at its worst.
    """

    id: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Trace:
    """A completion with all that tells where it came from; a shard of these can be read alone."""

    id: str
    problem: Problem
    completion: Completion
    teacher: str
    seed: int
    sampling: Sampling
    cost_usd: float | None
    created: str
    seconds: float

    @staticmethod
    def name(problem: Problem, seed: int) -> str:
        """The id of a problem's attempt."""
        return f"{problem.id}#{seed}"


@dataclass(frozen=True)
class Verdict:
    """What curation says of a trace; `reason` is one of `REASONS`, or empty when it is kept."""

    keep: bool
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Judgement:
    """What the verifier says of an answer: right, wrong, or None where it could not tell (time, memory, no parse)."""

    right: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Ruling:
    """What the rules (`by` is `rule`) or a judge (`by` is its model's name) said of a trace's answer. `right` is None
    where they could not tell, or where the judge itself failed."""

    by: str
    right: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Kept(Trace):
    """A trace that curation kept, as it lies on disk: readable as a `Trace`. `tokens` counts reasoning and answer by
    the student's tokenizer."""

    tokens: int
    rulings: tuple[Ruling, ...]


@dataclass(frozen=True)
class Dropped:
    """A trace that curation dropped, with why. `beside` is what it was found to repeat: a prompt of the gate, say."""

    trace: Trace
    reason: str
    detail: str
    beside: str
    rulings: tuple[Ruling, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A trained student. `path` holds an adapter (`adapter`) or whole weights; `base` is what it started from."""

    path: str
    base: str
    base_revision: str
    adapter: bool
    quantization: str
    step: int
    tokens: int
    loss_tokens: int


@dataclass(frozen=True)
class Score:
    """One model on one task. `by_problem` maps a problem's id to its mean over the k samples (avg@k).

    `pass_at_k` and `cons_at_k` are the unbiased pass@k and the majority's score, None where they were not worked out.
    `unfinished`, `unverified` and `repetition` are shares of the samples, `unboxed` of those that were finished.
    `tokens` is what was generated, `median_tokens` a sample's median. `looks` holds, for a task that was asked in
    rounds, how many problems had been answered at the end of each (the last is `n_problems`), and `planned` how many
    there are in whole.
    """

    task: str
    domain: Domain
    metric: str
    value: float
    stderr: float
    n_problems: int
    k_samples: int
    unfinished: float
    by_problem: dict[str, float]
    smoke: bool
    unverified: float = 0.0
    repetition: float = 0.0
    unboxed: float = 0.0
    pass_at_k: float | None = None
    cons_at_k: float | None = None
    tokens: int = 0
    median_tokens: float = 0.0
    looks: tuple[int, ...] = ()
    planned: int = 0

    @staticmethod
    def order(ids: Iterable[str]) -> list[str]:
        """The order in which a task's problems are asked in rounds: that of a hash, which knows no difficulty."""
        return sorted(ids, key=lambda name: hashlib.sha256(name.encode()).digest())


@dataclass(frozen=True)
class Check:
    """One condition of the gate: `measured` with its one-sided bound against what was `needed`.

    `low` and `high` are the one-sided bounds on both sides, equal to `measured` where it was counted and not
    estimated. `waiver` says who lets the check be, and why; it is empty where nobody does.
    """

    task: str
    term: str
    measured: float
    bound: float
    needed: float
    outcome: Outcome
    why: str
    low: float = 0.0
    high: float = 0.0
    waiver: str = ""

    @property
    def open(self) -> bool:
        """Whether it lets a release through: it passed, or somebody answers for it."""
        return self.outcome == "pass" or bool(self.waiver)


@dataclass(frozen=True)
class GateReport:
    """One variant's evidence."""

    checkpoint: str
    variant: str
    scores: tuple[Score, ...]
    baselines: dict[str, tuple[Score, ...]]
    checks: tuple[Check, ...]
    confidence: float

    @property
    def smoke(self) -> bool:
        """Whether any score saw only a part of its task: such a report never passes."""
        return any(score.smoke for score in self.scores)

    @property
    def passed(self) -> bool:
        """Every check passed or is waived, there is at least one, both domains are there, and it was no smoke run."""
        domains = {score.domain for score in self.scores}
        complete = {"math", "logic"} <= domains and not self.smoke
        return complete and bool(self.checks) and all(check.open for check in self.checks)


@dataclass(frozen=True)
class Release:
    """Where a release went; `files` maps each file to its sha256."""

    path: str
    variants: tuple[str, ...]
    files: dict[str, str]


class Engine(Protocol):
    """Prompts to completions. Yields in the order of arrival; a Failure is one attempt's, an EngineError is all's."""

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, streamed as it ends.

        A None among the requests says that there is none just now: the engine works on what it has, and asks again
        when more of it ended. None is never given while nothing is in flight.
        """
        ...


@dataclass(frozen=True)
class Watch:
    """What an engine tells, and asks, the one who pays: `say` takes a sentence for people; `may_retry` is asked, with
    the kind of trouble, before a request is tried again."""

    say: Callable[[str], None] = lambda text: None
    may_retry: Callable[[Request, str], bool] = lambda request, trouble: True


class Verifier(Protocol):
    """Answers to judgements, one for one and in order. Never raises for an answer, whatever is in it."""

    def __call__(self, answers: Sequence[tuple[Problem, str]]) -> list[Judgement]: ...
