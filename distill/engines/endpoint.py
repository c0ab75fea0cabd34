"""Prompts to completions by chat completions of any OpenAI-compatible server: takes requests, gives their outcomes."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from distill.engines import connection, reply
from distill.engines.asking import Asker
from distill.engines.capture import Capture, from_chat
from distill.engines.stream import Stream
from distill.errors import EngineError, MissingReasoning
from distill.records import Completion, Failure, Request, Watch, estimated_tokens
from distill.teacher_sections import EndpointTeacher

SECRET_FROM = 12  # characters; shorter keys are no secrets (EMPTY, none), and may well be words of an answer


class EndpointEngine(Asker[Request, Completion]):
    """An engine over a server.

    `reasoned` counts completions with reasoning: an answer without it is one attempt's failure only where others went
    well before; otherwise it is everyone's. Where the model need not reason (`reasons` is False), an answer without
    reasoning is an answer. With `capture`, servers are asked for log-probabilities too.
    """

    def __init__(
        self,
        section: EndpointTeacher,
        api_key: str | None,
        *,
        first_pause_s: float = 1.0,
        watch: Watch | None = None,
        reasons: bool = True,
        capture: Capture | None = None,
    ) -> None:
        self.capture = capture
        self.watch = watch or Watch()
        super().__init__(section, api_key, "chat/completions", first_pause_s=first_pause_s, say=self.watch.say)
        self.reasoned = 0
        self._served: set[str] = set()
        self._reasons = reasons
        self._host = urlsplit(section.base_url).hostname or ""

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, in the order of arrival; `requests` is read only as far as there is room in flight.

        Raises EngineError (a bad key, an unknown model, no server) and MissingReasoning; once anything was answered,
        what is in flight is still waited for and yielded before, since it is paid for.
        """
        return self.ask(requests)

    def body(self, request: Request) -> dict[str, Any]:
        """A chat completion's."""
        streamed = {"stream": True, "stream_options": {"include_usage": True}} if self.section.stream else {}
        captured: dict[str, Any] = {}
        if self.capture is not None:
            captured = {"logprobs": True, "top_logprobs": self.capture.k, "return_tokens_as_token_ids": True}
        return {
            **self.section.extra_body,
            "model": self.section.model,
            "messages": [{"role": "user", "content": request.prompt}],
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
            "seed": request.seed,
            **streamed,
            **captured,
        }

    def read(self, request: Request, data: dict[str, Any]) -> Completion:
        """The first choice, without the key."""
        allow = self.section.allow_other_model
        completion = reply.completion(
            data, self.section.model, allow_other_model=allow, host=self._host, reasons=self._reasons
        )
        if self.capture is not None:
            self._keep(request, data["choices"][0].get("logprobs"))
        if self._key is None or len(self._key) < SECRET_FROM:
            return completion
        return dataclasses.replace(
            completion,
            reasoning=self.hush(completion.reasoning),
            answer=self.hush(completion.answer),
            model=self.hush(completion.model),
            provider=self.hush(completion.provider),
        )

    def _keep(self, request: Request, logprobs: Any) -> None:
        """Keeps what a completion's log-probabilities say, and says once where they say nothing."""
        assert self.capture is not None
        found = from_chat(logprobs)
        if found is None and not self.capture.blind:
            self.watch.say(
                "an answer came without log-probabilities of token ids, so that nothing is captured of it; vLLM gives "
                "them (return_tokens_as_token_ids), and signals: score needs none"
            )
        self.capture.put(request.id, found)

    def worst(self, request: Request) -> int:
        """The prompt's estimate and the most that may be answered."""
        return estimated_tokens(request.prompt) + request.sampling.max_tokens

    def billed(self, request: Request, answer: Completion) -> int:
        """As stated, or estimated."""
        return (answer.prompt_tokens or 0) + answer.probable_tokens

    def took(self, answer: Completion) -> None:
        """Counts, and says once for each other name that answers come from another model, which only a recipe can
        allow."""
        super().took(answer)
        self.reasoned += bool(answer.reasoning)
        asked, served = self.section.model, answer.model
        if served not in self._served and not reply.same_model(asked, served):
            self.watch.say(f"asked for the model {asked!r}, and {served!r} answers, which the recipe allows")
        self._served.add(served)

    def may_retry(self, request: Request, trouble: str) -> bool:
        """As the one who pays says."""
        return self.watch.may_retry(request, trouble)

    def is_ones_own(self, error: EngineError) -> bool:
        """A refusal or a missing reasoning is this request's alone where others went well."""
        return super().is_ones_own(error) or (isinstance(error, MissingReasoning) and self.reasoned > 0)

    async def received(self, answer: aiohttp.ClientResponse) -> dict[str, Any]:
        """The body in one piece, or put together from a stream."""
        if answer.status != 200 or answer.content_type != "text/event-stream":
            return await super().received(answer)
        stream = Stream()
        async for chunk in connection.pieces(answer):
            stream.feed(chunk)
        return reply.checked(stream.data(), answer.headers, self.section.model)
