"""The sections of the recipe, one per stage; each field is documented once, by the text under it.

The teacher's, curation's, the student's and the gate's have modules of their own.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from distill import records
from distill.records import AnswerKind


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

    temperature: float = Field(records.Sampling.temperature, ge=0, allow_inf_nan=False)
    """0 is greedy, which R1's makers advise against: it repeats more."""
    top_p: float = Field(records.Sampling.top_p, gt=0, le=1)
    """Nucleus sampling."""
    max_tokens: int = Field(records.Sampling.max_tokens, gt=0)
    """Reasoning and answer together, in tokens."""

    def record(self) -> records.Sampling:
        """The same as a record."""
        return records.Sampling(self.temperature, self.top_p, self.max_tokens)
