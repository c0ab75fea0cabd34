"""The teacher's section of the recipe, by kind; each field is documented once, by the text under it."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from distill.records import AnswerKind
from distill.sections import SamplingSection, Section

OWN_FIELDS = (
    *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens"),
    *("seed", "stream", "stream_options", "n"),
    *("logprobs", "top_logprobs", "prompt_logprobs", "return_tokens_as_token_ids"),
)
"""What the sampler itself writes into a request's body."""


class AskedTeacher(Section):
    """What every teacher that is asked has in common."""

    sampling: SamplingSection = SamplingSection()
    """How answers are drawn."""
    max_per_problem: int = Field(1, gt=0)
    """At most so many attempts at one problem; attempt i has seed `seed` + i."""
    keep_per_problem: int | None = Field(None, gt=0)
    """Stop asking for a problem once so many of its attempts are verified; by default every attempt is made."""
    give_up_after: int | None = Field(None, gt=0)
    """With keep_per_problem: stop asking for a problem once so many answers came and none was right. Left out: half of
    max_per_problem, and at least 4."""
    seed: int = Field(0, ge=0)
    """The first attempt's seed."""
    capture_logprobs: int | None = Field(None, gt=0)
    """Keep the so many likeliest tokens at each position of each answer, for a student's objective with `kind: kd` and
    `signals: captured`. A server bounds how many it gives (vLLM: --max-logprobs)."""

    @model_validator(mode="after")
    def _keep_within_max(self) -> Self:
        if self.keep_per_problem is not None and self.keep_per_problem > self.max_per_problem:
            raise ValueError(
                f"keep_per_problem: {self.keep_per_problem} is more than max_per_problem: {self.max_per_problem}; "
                f"write max_per_problem: {self.keep_per_problem} or more"
            )
        if self.give_up_after is not None and self.keep_per_problem is None:
            raise ValueError("give_up_after counts verified answers; write keep_per_problem: 1, or take it out")
        return self

    @property
    def patience(self) -> int:
        """So many answers without a right one, and a problem is given up."""
        return self.give_up_after or max(4, -(-self.max_per_problem // 2))


class Budget(Section):
    """A hard cap on what may be spent, and the prices that it is reckoned with."""

    max_usd: float | None = Field(None, gt=0)
    """No request is sent once the spent and the worst case in flight would pass this; it needs the two prices."""
    max_tokens: int | None = Field(None, gt=0)
    """The same in tokens, prompts and answers together, for a server without a price."""
    usd_per_million_input: float | None = Field(None, ge=0)
    """US dollars per million prompt tokens."""
    usd_per_million_output: float | None = Field(None, ge=0)
    """US dollars per million completion tokens, reasoning included."""
    when_spent: Literal["stop", "go_on"] = "stop"
    """What happens once the cap is reached: stop there, to go on when it is raised, or go on to curation with what is
    there. Raising the cap asks for the rest in either case."""

    @model_validator(mode="after")
    def _prices_and_caps_fit(self) -> Self:
        if (self.usd_per_million_input is None) != (self.usd_per_million_output is None):
            raise ValueError("budget: write both usd_per_million_input and usd_per_million_output, or neither")
        if self.max_usd is not None and not self.priced:
            raise ValueError(
                "budget: max_usd needs usd_per_million_input and usd_per_million_output; add them, or write max_tokens"
            )
        if self.max_usd is None and self.max_tokens is None and not self.priced:
            raise ValueError("budget: it says nothing; write max_usd with the two prices, or max_tokens")
        return self

    @property
    def caps(self) -> dict[str, float | None]:
        """What the budget holds, as a manifest states it."""
        return {"max_usd": self.max_usd, "max_tokens": self.max_tokens}

    @property
    def priced(self) -> bool:
        """Whether tokens have a price."""
        return self.usd_per_million_input is not None

    def usd(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        """What so many tokens cost; None without prices."""
        if self.usd_per_million_input is None or self.usd_per_million_output is None:
            return None
        return (prompt_tokens * self.usd_per_million_input + completion_tokens * self.usd_per_million_output) / 1e6


class EndpointTeacher(AskedTeacher):
    """A teacher behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, OpenRouter, a host's API."""

    kind: Literal["endpoint"]
    model: str
    """The model's name as the server knows it; it is recorded with every trace, beside the name it was served under."""
    base_url: str
    """Up to and with /v1."""
    api_key_env: str | None = None
    """The NAME of the environment variable that holds the key; the key itself never stands in a recipe."""
    stream: bool = False
    """Have answers sent piece by piece, for hosts that cut off a request that is silent for long."""
    extra_body: dict[str, Any] = Field({})
    """Further fields of each request's body, such as `{provider: {order: [Parasail]}}` for OpenRouter. No secrets."""
    concurrency: int = Field(64, gt=0)
    """At most so many requests in flight; how many there are follows from how the server bears them."""
    requests_per_minute: float | None = Field(None, gt=0)
    """A limit that the host sets; None is none."""
    tokens_per_minute: float | None = Field(None, gt=0)
    """A limit that the host sets, prompts and answers together; None is none."""
    timeout_s: float = Field(1800, gt=0)
    """For one request; R1 may think for many minutes."""
    max_retries: int = Field(5, ge=0)
    """Of one request, with growing pauses, before it becomes a failure record."""
    max_outage_s: float = Field(1800, ge=0)
    """While most requests fail, one is tried now and then; after so long without an answer the sampler stops."""
    grace_s: float = Field(120, ge=0)
    """After Ctrl-C, so long is waited for what is in flight, since it is paid for."""
    budget: Budget | None = None
    """A cap on what may be spent."""
    allow_other_model: bool = False
    """Accept answers from a served model of another name than the one asked for (an alias that moved)."""

    @field_validator("base_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"base_url is {value!r}; write it with http:// or https://")
        if "@" in urlsplit(value).netloc or urlsplit(value).query:
            raise ValueError("base_url holds a password or a query; write the plain address and api_key_env: NAME")
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not value.isidentifier():
            raise ValueError("api_key_env takes the NAME of a variable, such as TEACHER_API_KEY, never the key")
        return value

    @field_validator("extra_body")
    @classmethod
    def _leaves_ours_alone(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(set(value) & set(OWN_FIELDS)):
            raise ValueError(
                f"extra_body: {', '.join(taken)} is written by the sampler; use the recipe's own key for it"
            )
        return value


class LocalTeacher(AskedTeacher):
    """A teacher run here by transformers."""

    kind: Literal["local"]
    model: str
    """A model folder, a Hub id, or `bundled:teacher`."""
    revision: str | None = None
    """The Hub model's commit or tag."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """Load in 8 or 4 bits by bitsandbytes."""
    batch_size: int = Field(64, gt=0)
    """Attempts generated at once."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for models whose code you have read."""


class ReplayColumns(Section):
    """Which columns of a trace data set hold what: `text` alone, or `reasoning` and `answer_text`."""

    prompt: str = "problem"
    """The question."""
    answer: str | None = "answer"
    """The right answer, to verify against."""
    text: str | None = None
    """Reasoning and answer in one text, with `</think>` between them."""
    reasoning: str | None = None
    """The reasoning alone."""
    answer_text: str | None = None
    """What the teacher answered after its reasoning."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        apart = self.reasoning is not None and self.answer_text is not None
        if (self.text is not None) == apart or (self.text is None and not apart):
            raise ValueError("columns: write either `text`, or both `reasoning` and `answer_text`")
        return self


class ReplayTeacher(Section):
    """An existing trace data set, as if it were a teacher. It brings its own problems."""

    kind: Literal["replay"]
    path: str
    """A json, jsonl, csv or parquet file, or a Hub data set's id."""
    model: str = "replay"
    """Who wrote the traces, for the record."""
    subset: str | None = None
    """The Hub data set's configuration."""
    split: str = "train"
    """The Hub data set's split."""
    revision: str | None = None
    """The Hub data set's commit or tag."""
    columns: ReplayColumns
    """Which columns hold what."""
    answer_kind: AnswerKind = "math"
    """How answers are compared."""
    limit: int | None = Field(None, gt=0)
    """Take the first so many rows."""
    skip_bad_rows: bool = False
    """Count rows without prompt, answer or text instead of stopping at the first one."""


class ScriptedTeacher(AskedTeacher):
    """No model at all: answers each problem with its own answer, for dry runs of a recipe."""

    kind: Literal["scripted"]
    right: float = Field(1.0, ge=0, le=1)
    """The share of attempts that are answered rightly."""


Teacher = Annotated[EndpointTeacher | LocalTeacher | ReplayTeacher | ScriptedTeacher, Field(discriminator="kind")]
