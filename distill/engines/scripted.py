"""An engine without a model: takes a function from request to text, gives its texts as completions."""

from collections.abc import Callable, Iterable, Iterator

from distill import think
from distill.records import Completion, Failure, Request


class ScriptedEngine:
    """Answers each request with what `script` says for it, read as a model's text would be; words count as tokens.

    `script` must be a function of the request alone, so that the same request always has the same completion.
    """

    def __init__(self, script: Callable[[Request], str], model: str = "scripted") -> None:
        self.script, self.model = script, model

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, in order; raises whatever the script raises."""
        for request in requests:
            if request is not None:
                yield request, self._completion(request)

    def _completion(self, request: Request) -> Completion:
        text = self.script(request)
        thought = think.split(text)
        return Completion(
            reasoning=thought.reasoning,
            answer=thought.answer,
            finish="stop" if thought.closed else "length",
            prompt_tokens=len(request.prompt.split()),
            completion_tokens=len(text.split()),
            model=self.model,
            clean=thought.clean,
        )
