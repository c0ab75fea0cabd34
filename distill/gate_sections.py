"""The gate's and the release's sections of the recipe; each field is documented once, by the text under it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from distill import faults
from distill.records import Domain
from distill.sections import SamplingSection, Section
from distill.tasknames import RG_PREFIX, SUITES, TASK_DOMAINS, default_repeats, domain_of
from distill.teacher_sections import EndpointTeacher

Baseline = Literal["base", "previous", "teacher"]
Variant = Literal["bf16", "int8", "nf4"]


def _no_truth(value: Any) -> Any:
    """YAML's true would count as 1, and does where no one means it."""
    if isinstance(value, bool):
        raise ValueError(f"{faults.shown(value)} is no number; write one")
    return value


Share = Annotated[float, BeforeValidator(_no_truth), Field(ge=0, le=1)]
Count = Annotated[int, BeforeValidator(_no_truth), Field(gt=0)]
Ratio = Annotated[float, BeforeValidator(_no_truth), Field(gt=0, allow_inf_nan=False)]


class GateTask(Section):
    """One task of the gate and what it must show. `{suite: math, …}` in its place stands for every task of a suite."""

    task: str
    """One of `distill tasks`, such as distill_gsm8k, or distill_rg_<family>."""
    min: Share | None = None
    """The floor for avg@k."""
    max_drop: Share | None = None
    """By how much the student may fall behind the base, and behind the previous release where that is a baseline,
    paired by problem."""
    repeats: Count = 4
    """k: samples per problem. Left out: the task's own, which is R1's where R1 was measured on it."""
    path: str | None = Field(None, min_length=1)
    """A local file or folder instead of the task's Hub data set."""
    limit: Count | None = None
    """Only the first so many problems: a smoke run, which never passes."""
    size: Count = 500
    """How many problems of a procedural task."""
    seed: int = Field(900_000_000, ge=0)
    """The first row's seed of a procedural task; keep it far from the training problems'."""
    config: dict[str, Any] = Field({})
    """A procedural family's own settings; the suites' families have a difficulty that `distill tasks` states."""

    @model_validator(mode="before")
    @classmethod
    def _own_repeats(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("repeats") is None and isinstance(data.get("task"), str):
            return {**data, "repeats": default_repeats(data["task"])}
        return data

    @field_validator("task")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in TASK_DOMAINS and not re.fullmatch(rf"{RG_PREFIX}[a-z0-9_]+", value):
            raise ValueError(
                f"task {value!r} is not known; write one of {', '.join(TASK_DOMAINS)} or {RG_PREFIX}<family>"
            )
        return value

    @field_validator("config")
    @classmethod
    def _is_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"config takes numbers, texts, lists and the like ({error}); write them plainly"
            ) from error
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
    reason: str
    """Why it may be released all the same, in a sentence."""
    by: str
    """Who says so."""

    @field_validator("check")
    @classmethod
    def _names_a_check(cls, value: str) -> str:
        task, slash, term = value.rpartition("/")
        if not (task and slash and term):
            raise ValueError(f"waive: check {value!r} names no check; write <task>/<term>, such as distill_gsm8k/floor")
        return value

    @field_validator("reason", "by")
    @classmethod
    def _says_something(cls, value: str, info: ValidationInfo) -> str:
        said = " ".join(value.split())
        if info.field_name == "reason" and len(said) < 10:
            raise ValueError(f"{value!r} gives none; write a sentence, which the card prints")
        if not said:
            raise ValueError(f"{value!r} is nobody; write who answers for it")
        return said


class Gate(Section):
    """What a student must show before it may be released."""

    tasks: tuple[GateTask, ...] = Field(min_length=1)
    """At least one of mathematics and one of logic."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """One-sided, for every check."""
    until_decided: bool = False
    """Ask the student in rounds, and end a task as soon as its checks are decided; the error rate stays the same."""
    max_unfinished: Share = 0.05
    """The share of samples whose thinking may be cut off by the token limit."""
    max_repetition: Share = 0.05
    """The share of samples that may go in circles."""
    max_unboxed: Share = 0.05
    """The share of finished samples whose answer may stand in no box, or whose tags may be broken."""
    max_length_ratio: dict[Baseline, Ratio] = Field({})
    """The student's median answer length over a baseline's, such as {previous: 1.2}."""
    max_variant_drop: Share | None = None
    """By how much a quantized variant may fall behind the 16-bit model, paired by problem."""
    baselines: tuple[Baseline, ...] = ("base",)
    """Measured beside the student; max_drop refers to `base`, and to `previous` where it is named."""
    previous: str | None = Field(None, min_length=1)
    """The release before: a folder that `distill release` wrote, or a Hub repository (with `@revision`)."""
    waive: tuple[Waiver, ...] = ()
    """Checks that a person answers for."""
    sampling: SamplingSection = SamplingSection()
    """How answers are drawn."""
    batch_size: Count = 64
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
        return {**data, "tasks": expanded(data["tasks"])}

    @model_validator(mode="after")
    def _both_domains(self) -> Self:
        named = [task.task for task in self.tasks]
        doubled = sorted({name for name in named if named.count(name) > 1})
        if doubled:
            raise ValueError(
                f"the gate names {', '.join(doubled)} more than once; name each task once (a suite leaves out what has "
                "an entry of its own)"
            )
        for domain, example in (("math", "distill_gsm8k"), ("logic", "distill_bbh_logic")):
            if not any(task.domain == domain for task in self.tasks):
                raise ValueError(
                    f"the gate has no {domain} task, and every release is gated on mathematics and logic; "
                    f"add for example `- {{task: {example}, min: 0.5}}`"
                )
        return self

    @model_validator(mode="after")
    def _keys_are_used(self) -> Self:
        for task in self.tasks:
            made, usual = task.task.startswith(RG_PREFIX), GateTask.model_fields
            if made and task.path is not None:
                raise ValueError(f"{task.task} makes its problems; take out path, or write size: 500")
            unused = [key for key in ("size", "seed", "config") if getattr(task, key) != usual[key].default]
            if not made and unused:
                raise ValueError(
                    f"{task.task} is read, not made, and has no {' and no '.join(unused)}; take it out, or write "
                    f"limit: {task.size} for a smoke run"
                )
        return self

    @model_validator(mode="after")
    def _baselines_fit(self) -> Self:
        if len(set(self.baselines)) < len(self.baselines):
            raise ValueError("baselines names one twice; name each once")
        if self.previous is not None and "previous" not in self.baselines:
            raise ValueError(
                f"previous: {self.previous} is named and not measured; write baselines: "
                f"[{', '.join([*self.baselines, 'previous'])}], or take it out"
            )
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
    repo: str | None = None
    """The Hub repository, ORG/NAME."""
    repos: Literal["one", "each"] = "one"
    """All variants in one repository (the first at its root, the others in folders), or NAME-<variant> for every other
    one."""
    private: bool = True
    """Whether a repository that is made is seen by its owners alone."""
    tag: str | None = None
    """The release's name on the Hub; left out: the next of v1, v2, …"""
    traces: bool = False
    """Push the kept traces as a data set ORG/NAME-traces."""
    licences: dict[Literal["teacher", "base", "data"], str] = Field({})
    """What is known of licences that distill does not know, such as {data: cc-by-4.0}."""

    @field_validator("repo")
    @classmethod
    def _has_an_owner(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", value, re.ASCII):
            raise ValueError(f"{value!r} is no repository's name; write ORG/NAME, such as our-org/student-7b")
        return value

    @field_validator("tag")
    @classmethod
    def _is_a_tag(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][\w.-]*", value, re.ASCII):
            raise ValueError(f"{value!r} is no tag's name; write letters, digits, dots and dashes, such as v1.0")
        return value

    @model_validator(mode="after")
    def _hub_needs_a_name(self) -> Self:
        if self.to == "hub" and self.repo is None:
            raise ValueError("to: hub needs a repository; write repo: ORG/NAME")
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("variants names one twice; name each once")
        return self


def expanded(entries: Sequence[Any]) -> list[Any]:
    """Every `{suite: name, …}` as its tasks, but for those that are named besides; raises ValueError for what cannot
    be an entry."""
    for entry in entries:
        if not isinstance(entry, dict | GateTask):
            raise ValueError(f"tasks: {faults.shown(entry)} is no task; write {{task: distill_gsm8k, min: 0.5}}")
    named = [entry["task"] for entry in entries if isinstance(entry, dict) and "task" in entry]
    tasks: list[Any] = []
    for entry in entries:
        tasks += _of_suite(entry, named) if isinstance(entry, dict) and "suite" in entry else [entry]
    return tasks


def _of_suite(entry: Mapping[str, Any], named: Iterable[Any]) -> list[dict[str, Any]]:
    """The tasks of `{suite: name, …}`, but for those that are named besides. Raises ValueError for what cannot be."""
    suite = entry["suite"]
    if not isinstance(suite, str) or suite not in SUITES:
        raise ValueError(f"suite {faults.shown(suite)} is not known; write one of {', '.join(SUITES)}")
    for key in ("task", "path", "config"):
        if key in entry:
            raise ValueError(f"suite {suite}: {key} is one task's; write it into an entry {{task: …}} of its own")
    rest = {key: value for key, value in entry.items() if key != "suite"}
    try:
        GateTask.model_validate({"task": SUITES[suite][0], **rest})
    except ValidationError as error:
        raise ValueError(f"suite {suite}: {'; '.join(faults.told(error.errors()))}") from error
    tasks = [name for name in SUITES[suite] if name not in named]
    kept = {key: value for key, value in rest.items() if key not in ("size", "seed")}
    return [{"task": name, **(rest if name.startswith(RG_PREFIX) else kept)} for name in tasks]


def check_waivers(gate: Gate, variants: Sequence[str]) -> None:
    """Raises ValueError for a waiver that names no check which this gate may make, or names one twice."""
    known = checks(gate, variants)
    for waiver in gate.waive:
        named, _, term = waiver.check.rpartition("/")
        variant, colon, task = named.rpartition(":")
        if colon and variant not in variants:
            raise ValueError(
                f"gate.waive: {waiver.check} names no variant of the release; write one of {', '.join(variants)}"
            )
        if task not in known:
            raise ValueError(f"gate.waive: {waiver.check} names no task of this gate; write one of {', '.join(known)}")
        if term not in known[task]:
            raise ValueError(
                f"gate.waive: {waiver.check} names no check of this gate; write {task}/ and one of "
                f"{', '.join(known[task])}"
            )
    named_once = {waiver.check for waiver in gate.waive}
    if len(named_once) < len(gate.waive):
        raise ValueError("gate.waive names a check twice; name each once")


def checks(gate: Gate, variants: Iterable[str]) -> dict[str, list[str]]:
    """By task the terms of all checks that the gate may make of these variants: what a waiver may name."""
    quantized = any(variant != "bf16" for variant in variants)
    shared = [
        *("unfinished", "repetition", "unboxed", "unverified", "contamination", "complete", "score"),
        *(f"length:{name}" for name in gate.max_length_ratio),
        *(["drop_bf16"] if quantized and gate.max_variant_drop is not None else []),
    ]
    found = {}
    for task in gate.tasks:
        floor = ["floor"] if task.min is not None else []
        drops = {"base": "drop", "previous": "drop_previous"} if task.max_drop is not None else {}
        found[task.task] = [*floor, *(drops[name] for name in gate.baselines if name in drops), *shared]
    return found
