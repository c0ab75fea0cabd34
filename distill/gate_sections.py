"""The gate's and the release's sections of the recipe; each field is documented once, by the text under it."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.records import Domain
from distill.sections import SamplingSection, Section
from distill.tasknames import RG_PREFIX, SUITES, TASK_DOMAINS, default_repeats, domain_of
from distill.teacher_sections import EndpointTeacher

Baseline = Literal["base", "previous", "teacher"]
Variant = Literal["bf16", "int8", "nf4"]


class GateTask(Section):
    """One task of the gate and what it must show. `{suite: math, …}` in its place stands for every task of a suite."""

    task: str
    """One of `distill tasks`, such as distill_gsm8k, or distill_rg_<family>."""
    min: float | None = Field(None, ge=0, le=1)
    """The floor for avg@k."""
    max_drop: float | None = Field(None, ge=0, le=1)
    """By how much the student may fall behind the base, and behind the previous release where that is a baseline,
    paired by problem."""
    repeats: int = Field(4, gt=0)
    """k: samples per problem. Left out: the task's own, which is R1's where R1 was measured on it."""
    path: str | None = None
    """A local file or folder instead of the task's Hub data set."""
    limit: int | None = Field(None, gt=0)
    """Only the first so many problems: a smoke run, which never passes."""
    size: int = Field(500, gt=0)
    """How many problems of a procedural task."""
    seed: int = Field(900_000_000, ge=0)
    """The first row's seed of a procedural task; keep it far from the training problems'."""
    config: dict[str, Any] = Field({})
    """A procedural family's own settings; the suites' families have a stated difficulty (tasknames.RG_DIFFICULTY)."""

    @model_validator(mode="before")
    @classmethod
    def _own_repeats(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("repeats") is None and isinstance(data.get("task"), str):
            return {**data, "repeats": default_repeats(data["task"])}
        return data

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


class Waiver(Section):
    """One check that a person answers for, instead of the gate. It is written on the card."""

    check: str
    """Task and term, such as `distill_gsm8k/floor`; for one variant alone `nf4:distill_gsm8k/floor`."""
    reason: str = Field(min_length=10)
    """Why it may be released all the same, in a sentence."""
    by: str = Field(min_length=1)
    """Who says so."""

    @field_validator("check")
    @classmethod
    def _names_a_check(cls, value: str) -> str:
        task, slash, term = value.rpartition("/")
        if not (task and slash and term):
            raise ValueError(f"waive: check {value!r} names no check; write <task>/<term>, such as distill_gsm8k/floor")
        return value


class Gate(Section):
    """What a student must show before it may be released."""

    tasks: tuple[GateTask, ...] = Field(min_length=1)
    """At least one of mathematics and one of logic."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided, for every check."""
    until_decided: bool = False
    """Ask the student in rounds, and end a task as soon as its checks are decided; the error rate stays the same."""
    max_unfinished: float = Field(0.05, ge=0, le=1)
    """The share of samples whose thinking may be cut off by the token limit."""
    max_repetition: float = Field(0.05, ge=0, le=1)
    """The share of samples that may go in circles."""
    max_unboxed: float = Field(0.05, ge=0, le=1)
    """The share of finished samples whose answer may stand in no box, or whose tags may be broken."""
    max_length_ratio: dict[Baseline, float] = Field({})
    """The student's median answer length over a baseline's, such as {previous: 1.2}."""
    max_variant_drop: float | None = Field(None, ge=0, le=1)
    """By how much a quantized variant may fall behind the 16-bit model, paired by problem."""
    baselines: tuple[Baseline, ...] = ("base",)
    """Measured beside the student; max_drop refers to `base`, and to `previous` where it is named."""
    previous: str | None = None
    """The release before: a folder that `distill release` wrote, or a Hub repository (with `@revision`)."""
    waive: tuple[Waiver, ...] = ()
    """Checks that a person answers for."""
    sampling: SamplingSection = SamplingSection()
    """How answers are drawn."""
    batch_size: int = Field(64, gt=0)
    """Samples generated at once."""
    seed: int = Field(1234, ge=0)
    """The first repeat's seed."""
    served: dict[Literal[Variant, Baseline], EndpointTeacher] = Field({})
    """Variants and baselines that a server answers for instead of this machine, such as {bf16: {kind: endpoint, model:
    my-student, base_url: http://localhost:8000/v1}}; the gate says which folder it must serve."""

    @model_validator(mode="before")
    @classmethod
    def _suites(cls, data: Any) -> Any:
        """Every `{suite: name, …}` becomes its tasks, but for those that are named besides."""
        if not isinstance(data, dict) or not isinstance(data.get("tasks"), (list, tuple)):
            return data
        entries = list(data["tasks"])
        named = {entry["task"] for entry in entries if isinstance(entry, dict) and "task" in entry}
        tasks: list[Any] = []
        for entry in entries:
            if not (isinstance(entry, dict) and "suite" in entry):
                tasks.append(entry)
                continue
            if entry["suite"] not in SUITES:
                raise ValueError(f"suite {entry['suite']!r} is not known; write one of {', '.join(SUITES)}")
            rest = {key: value for key, value in entry.items() if key != "suite"}
            tasks += [{"task": name, **rest} for name in SUITES[entry["suite"]] if name not in named]
        return {**data, "tasks": tasks}

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
        return self

    @model_validator(mode="after")
    def _baselines_fit(self) -> Self:
        if any(task.max_drop is not None for task in self.tasks) and "base" not in self.baselines:
            raise ValueError("max_drop is measured against the base; write baselines: [base]")
        if "previous" in self.baselines and self.previous is None:
            raise ValueError("baselines: [previous] needs to know where it is; write previous: FOLDER or ORG/NAME")
        unmeasured = sorted(set(self.max_length_ratio) - set(self.baselines))
        if unmeasured:
            raise ValueError(f"max_length_ratio names {', '.join(unmeasured)}; write it into baselines, too")
        return self


class ReleaseSection(Section):
    """What is released, and where to."""

    variants: tuple[Variant, ...] = Field(("bf16",), min_length=1)
    """Each is made, and gated, as it ships."""
    to: Literal["folder", "hub"] = "folder"
    """A folder in the run's own, or from there to the Hugging Face Hub."""
    repo: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """The Hub repository, ORG/NAME."""
    repos: Literal["one", "each"] = "one"
    """All variants in one repository (the first at its root, the others in folders), or NAME-<variant> for every other
    one."""
    private: bool = True
    """Whether a repository that is made is seen by its owners alone."""
    tag: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*$")
    """The release's name on the Hub; left out: the next of v1, v2, …"""
    traces: bool = False
    """Push the kept traces as a data set ORG/NAME-traces."""
    licences: dict[Literal["teacher", "base", "data"], str] = Field({})
    """What is known of licences that distill does not know, such as {data: cc-by-4.0}."""

    @model_validator(mode="after")
    def _hub_needs_a_name(self) -> Self:
        if self.to == "hub" and self.repo is None:
            raise ValueError("to: hub needs a repository; write repo: ORG/NAME")
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants names one twice; name each once")
        return self
