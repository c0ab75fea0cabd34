"""The sections of the recipe, one per stage; each field is documented once, by the text under it.

The teacher's are in `distill.teacher_sections`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from distill import records
from distill.records import AnswerKind, Domain
from distill.tasknames import RG_PREFIX, TASK_DOMAINS, domain_of


class Section(BaseModel):
    """The base of every section: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Columns(Section):
    """Which columns of a data set hold what."""

    prompt: str = "problem"
    """The question."""
    answer: str = "answer"
    """The answer; GSM8K's `#### n` and the last `\\boxed{}` of a worked solution are read as the answer."""


class DatasetProblems(Section):
    """Problems from a Hub data set or from a local json, jsonl, csv or parquet file."""

    kind: Literal["dataset"]
    path: str
    """A file, or a Hub id such as `open-r1/OpenR1-Math-220k`."""
    subset: str | None = None
    """The Hub data set's configuration."""
    split: str = "train"
    """The Hub data set's split."""
    revision: str | None = None
    """The Hub data set's commit or tag."""
    columns: Columns = Columns()
    """Which columns hold the question and the answer."""
    answer_kind: AnswerKind = "math"
    """How answers are compared: math (math-verify), choice (a letter), text (normalized)."""
    limit: int | None = Field(None, gt=0)
    """Take the first so many rows."""
    skip_bad_rows: bool = False
    """Count rows without prompt or answer instead of stopping at the first one."""

    @model_validator(mode="after")
    def _rules_need_a_library(self) -> Self:
        if self.answer_kind == "rule":
            raise ValueError("answer_kind: rule is for kind: reasoning_gym; write math, choice or text")
        return self


class ReasoningGymProblems(Section):
    """Fresh procedural problems. Row i of a family is drawn from seed + i, so keep seeds far apart."""

    kind: Literal["reasoning_gym"]
    task: str
    """A family of the reasoning-gym library, such as knights_knaves."""
    size: int = Field(gt=0)
    """How many problems."""
    seed: int = Field(1, ge=0)
    """The first row's seed."""
    config: dict[str, Any] = {}
    """The family's own settings, by its own names."""


Problems = Annotated[DatasetProblems | ReasoningGymProblems, Field(discriminator="kind")]


class SamplingSection(Section):
    """How answers are drawn; the defaults are R1's published ones (arXiv 2501.12948, section 3)."""

    temperature: float = Field(records.Sampling.temperature, ge=0)
    """0 is greedy, which R1's makers advise against: it repeats more."""
    top_p: float = Field(records.Sampling.top_p, gt=0, le=1)
    """Nucleus sampling."""
    max_tokens: int = Field(records.Sampling.max_tokens, gt=0)
    """Reasoning and answer together, in tokens."""

    def record(self) -> records.Sampling:
        """The same as a record."""
        return records.Sampling(self.temperature, self.top_p, self.max_tokens)


class GateTask(Section):
    """One task of the gate and what it must show."""

    task: str
    """distill_gsm8k, distill_math500, distill_bbh_logic, distill_knights_knaves, or distill_rg_<family>."""
    min: float | None = Field(None, ge=0, le=1)
    """The floor for avg@k."""
    max_drop: float | None = Field(None, ge=0, le=1)
    """By how much the student may fall behind the base, paired by problem."""
    repeats: int = Field(4, gt=0)
    """k: samples per problem."""
    path: str | None = None
    """A local file or folder instead of the task's Hub data set."""
    limit: int | None = Field(None, gt=0)
    """Only the first so many problems: a smoke run, which never passes."""
    size: int = Field(500, gt=0)
    """How many problems of a procedural task."""
    seed: int = Field(900_000_000, ge=0)
    """The first row's seed of a procedural task; keep it far from the training problems'."""
    config: dict[str, Any] = {}
    """A procedural family's own settings."""

    @field_validator("task")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TASK_DOMAINS and value.removeprefix(RG_PREFIX) == value:
            raise ValueError(
                f"task {value!r} is not known; write one of {', '.join(TASK_DOMAINS)} or {RG_PREFIX}<family>"
            )
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.min is None and self.max_drop is None:
            raise ValueError(f"{self.task} asks for nothing; write min: 0.7, or max_drop: 0.01, or both")
        return self

    @property
    def domain(self) -> Domain:
        """math, logic or other."""
        return domain_of(self.task)


class Gate(Section):
    """What a student must show before it may be released."""

    tasks: tuple[GateTask, ...] = Field(min_length=1)
    """At least one of mathematics and one of logic."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided, for every check."""
    max_unfinished: float = Field(0.05, ge=0, le=1)
    """The share of samples whose thinking may be cut off by the token limit."""
    baselines: tuple[Literal["base", "teacher"], ...] = ("base",)
    """Measured beside the student; `base` is what max_drop refers to."""
    sampling: SamplingSection = SamplingSection()
    """How answers are drawn."""
    batch_size: int = Field(64, gt=0)
    """Samples generated at once."""
    seed: int = Field(1234, ge=0)
    """The first repeat's seed."""

    @model_validator(mode="after")
    def _both_domains(self) -> Self:
        named = [task.task for task in self.tasks]
        doubled = sorted({name for name in named if named.count(name) > 1})
        if doubled:
            raise ValueError(f"the gate names {', '.join(doubled)} more than once; name each task once")
        for domain, example in (("math", "distill_gsm8k"), ("logic", "distill_bbh_logic")):
            if not any(task.domain == domain for task in self.tasks):
                raise ValueError(
                    f"the gate has no {domain} task, and every release is gated on mathematics and logic; "
                    f"add for example `- {{task: {example}, min: 0.5}}`"
                )
        if any(task.max_drop is not None for task in self.tasks) and "base" not in self.baselines:
            raise ValueError("max_drop is measured against the base; write baselines: [base]")
        return self


class ReleaseSection(Section):
    """What is released, and where to."""

    variants: tuple[Literal["bf16", "nf4"], ...] = Field(("bf16",), min_length=1)
    """Each is made, and gated, as it ships."""
    to: Literal["folder"] = "folder"
    """A folder in the run's own."""
