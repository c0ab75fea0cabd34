"""A hard cap on what is spent: takes requests before they are sent and outcomes when they end, gives their costs."""

from collections.abc import Iterable

from distill.journal import Journal
from distill.records import Completion, Expense, Failure, Request
from distill.teacher_sections import Budget

TEMPLATE_TOKENS = 64  # what a chat template may add to a prompt
MOST_GIVEN_BACK = 8  # so many requests at most count at their worst, though they ended, when a process is killed
UNBILLED = ("NoServer", "Refusal", "HTTP408", "HTTP409", "HTTP425", "HTTP429", "HTTP503", "HTTP529")
"""Troubles that a server has before it thinks. Whatever else goes wrong may have been billed, at its worst."""


class Purse:
    """What is spent, and with it what is in flight at its worst, in tokens. Without a budget everything may be sent.

    Each change stands in the ledger before it counts, so that a killed process has spent what it had in flight.
    """

    def __init__(
        self, budget: Budget | None = None, ledger: Journal[Expense] | None = None, earlier: Iterable[Expense] = ()
    ) -> None:
        """`earlier` is what was spent before, with what the ledger already holds."""
        self.budget, self.ledger = budget, ledger
        self.prompt_tokens = self.completion_tokens = 0
        self._given_back: list[Expense] = []
        for expense in earlier:
            self._count(expense)

    @property
    def usd(self) -> float | None:
        """What is spent in dollars, with what is in flight at its worst; None without prices."""
        return self.budget.usd(self.prompt_tokens, self.completion_tokens) if self.budget else None

    def reserve(self, request: Request) -> bool:
        """Sets the worst case of a request aside; False, and nothing set aside, where the cap does not hold it."""
        prompt, completion = worst(request)
        if self.budget is not None and not self._holds(self.budget, prompt, completion):
            return False
        aside = Expense(request.id, prompt, completion)
        if self.ledger is not None:
            self.ledger.append(*self._given_back, aside)
            self._given_back.clear()
        self._count(aside)
        return True

    def may_retry(self, request: Request, trouble: str) -> bool:
        """Whether a request may be tried again: what the last try may have been billed with is spent, at its worst."""
        return trouble in UNBILLED or self.reserve(request)

    def settle(self, request: Request, outcome: Completion | Failure) -> float | None:
        """Turns what was set aside into what was spent; the cost in dollars, or None where it cannot be known.

        A count of tokens that the server did not state stays at its worst, and so does a failure that may have been
        billed.
        """
        prompt, completion = worst(request)
        if isinstance(outcome, Failure):
            if outcome.error in UNBILLED:
                self._give_back(Expense(request.id, -prompt, -completion))
            return None
        spent = outcome.prompt_tokens, outcome.completion_tokens
        back = [0 if used is None else used - aside for used, aside in zip(spent, (prompt, completion), strict=True)]
        self._give_back(Expense(request.id, *back))
        if self.budget is None or spent[0] is None or spent[1] is None:
            return None
        return self.budget.usd(spent[0], spent[1])

    def cap(self) -> str:
        """The cap, and what is spent of it, in words."""
        budget, parts = self.budget, []
        if budget is not None and budget.max_usd is not None:
            parts.append(f"${self.usd or 0:.4f} of max_usd: {budget.max_usd:g}")
        if budget is not None and budget.max_tokens is not None:
            parts.append(f"{self.prompt_tokens + self.completion_tokens:,} of max_tokens: {budget.max_tokens:,}")
        return " and ".join(parts)

    def _holds(self, budget: Budget, prompt: int, completion: int) -> bool:
        prompt, completion = self.prompt_tokens + prompt, self.completion_tokens + completion
        if budget.max_tokens is not None and prompt + completion > budget.max_tokens:
            return False
        return budget.max_usd is None or (budget.usd(prompt, completion) or 0.0) <= budget.max_usd

    def close(self) -> None:
        """Writes what was given back and is not written yet."""
        if self.ledger is not None and self._given_back:
            self.ledger.append(*self._given_back)
            self._given_back.clear()

    def _give_back(self, expense: Expense) -> None:
        """Counts it now and writes it with the next request: were it lost, too much would count as spent."""
        if expense.prompt_tokens or expense.completion_tokens:
            self._given_back.append(expense)
            self._count(expense)
            if len(self._given_back) >= MOST_GIVEN_BACK:
                self.close()

    def _count(self, expense: Expense) -> None:
        self.prompt_tokens += expense.prompt_tokens
        self.completion_tokens += expense.completion_tokens


def worst(request: Request) -> tuple[int, int]:
    """What a request can be billed with at most, in tokens: a token for every byte of the prompt (no byte-level
    tokenizer makes more), and all that it may answer."""
    return len(request.prompt.encode("utf-8", "replace")) + TEMPLATE_TOKENS, request.sampling.max_tokens
