"""A hard cap on what is spent: takes requests before they are sent and outcomes when they end, gives their costs."""

from collections.abc import Iterable

from distill.records import Completion, Failure, Request, Trace
from distill.sections import Budget

TEMPLATE_TOKENS = 32  # what a chat template may add to a prompt
UNBILLED = ("NoServer", "Refusal", "HTTP408", "HTTP409", "HTTP425", "HTTP429")


class Purse:
    """What is spent and, at worst, in flight. Without a budget everything may be sent and nothing has a price."""

    def __init__(self, budget: Budget | None, paid: Iterable[Trace] = ()) -> None:
        self.budget, self.in_flight = budget, 0.0
        self.spent = sum(self._paid(trace) for trace in paid) if budget else 0.0

    def reserve(self, request: Request) -> bool:
        """Sets the worst case of a request aside; False, and nothing set aside, where the cap does not hold it."""
        if self.budget is None:
            return True
        worst = self.worst(request.prompt, request.sampling.max_tokens)
        if self.spent + self.in_flight + worst > self.budget.max_usd:
            return False
        self.in_flight += worst
        return True

    def settle(self, request: Request, outcome: Completion | Failure) -> float | None:
        """Turns what was set aside into what was spent; the cost, or None where it cannot be known.

        An unknown cost is reckoned at its worst, and so is each attempt of a failure that the server may have billed.
        """
        if self.budget is None:
            return None
        worst = self.worst(request.prompt, request.sampling.max_tokens)
        self.in_flight = max(0.0, self.in_flight - worst)
        if isinstance(outcome, Failure):
            self.spent += 0.0 if outcome.error in UNBILLED else worst * outcome.attempts
            return None
        cost = self.price(outcome.prompt_tokens, outcome.completion_tokens)
        self.spent += worst if cost is None else cost
        return cost

    def price(self, prompt_tokens: int | None, completion_tokens: int | None) -> float | None:
        """What so many tokens cost; None where a count, or the prices, are not known."""
        if self.budget is None or prompt_tokens is None or completion_tokens is None:
            return None
        paid = prompt_tokens * self.budget.usd_per_million_input
        return (paid + completion_tokens * self.budget.usd_per_million_output) / 1e6

    def worst(self, prompt: str, max_tokens: int) -> float:
        """What a request costs at most: a token for every three bytes of the prompt, and all that it may answer."""
        return self.price(len(prompt.encode()) // 3 + TEMPLATE_TOKENS, max_tokens) or 0.0

    def _paid(self, trace: Trace) -> float:
        return self.worst(trace.problem.ask, trace.sampling.max_tokens) if trace.cost_usd is None else trace.cost_usd
