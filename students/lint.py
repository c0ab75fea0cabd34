"""Lint before training: takes the recipe's section and traces, gives findings, in seconds and before any weight.

Every trace is looked through for what its text alone can tell, and its length is compared with the limit; an even
sample of them is rendered, by the code that training uses, and taken apart again.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from distill.errors import InputError
from distill.recipe import located
from distill.records import Completion, Problem, Sampling, Trace
from distill.student_sections import Student
from students import lint_setup as setup
from students.findings import Finding, Findings, told
from students.lint_checks import check_rendering, look
from students.lint_survey import Survey
from students.model import load_tokenizer


@dataclass(frozen=True)
class Base:
    """What is read of the base, none of it weights."""

    tokenizer: Any
    config: Any
    template: setup.Template


def lint(section: Student, traces: Iterable[Trace], say: Callable[[str], None], what: str = "traces") -> Findings:
    """Findings on the base's files, on the section's settings and on the traces, each of which is read once, in order.

    `say` is told each warning in one line; `what` names the traces. A `Kept` trace's own count of tokens is used where
    it decides whether the trace is too long; where there is none, it is counted here. Whatever is wrong is a finding:
    `Findings.raise_errors` makes an InputError of them.
    """
    base = _read(section)
    if isinstance(base, Finding):
        return Findings("the base alone", (base,))
    survey = Survey(section, base.tokenizer, getattr(base.config.get_text_config(), "max_position_embeddings", None))
    for trace in traces:
        survey.add(trace)
    looked = look(base.tokenizer, survey.even.kept)
    on_traces = [*check_rendering(base.tokenizer, looked), *survey.findings()] if survey.count else [_NO_TRACES]
    source = f"{survey.count:,} {what}, {len(looked):,} of them rendered as for training and taken apart"
    findings = Findings(source, (*on_traces, *_on_base(section, base)))
    for one in findings.of("warning"):
        say(f"lint: {told(one)}")
    return findings


def _read(section: Student) -> Base | Finding:
    """The base's files, or the finding that says why they cannot be used."""
    import jinja2

    try:
        config = setup.read_config(section)
        tokenizer = load_tokenizer(section)
        return Base(tokenizer, config, setup.Template(tokenizer))
    except InputError as error:
        return Finding(_code(section), "error", str(error))
    except jinja2.TemplateError as error:
        said = f"student.base: the chat template of {section.base} fails: {' '.join(str(error).split())}"
        return Finding("template-fails", "error", said, write="a chat_template.jinja that renders one user's turn")
    except (OSError, ValueError) as error:
        said = f"student.base: the config.json of {section.base} cannot be read: {' '.join(str(error).split())}"
        return Finding(
            "unloadable", "error", said, write="student: {base: ...}, a folder or a Hub id of a causal model"
        )


def _code(section: Student) -> str:
    """Which of the things that `load_tokenizer` refuses it was."""
    from transformers import AutoTokenizer

    options = {"revision": section.revision or "main", "trust_remote_code": section.trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(located("student.base", section.base), **options)
    except (OSError, ValueError):
        return "unloadable"
    return "no-eos" if tokenizer.chat_template else "no-chat-template"


def _on_base(section: Student, base: Base) -> list[Finding]:
    stops = setup.generation_stops(section, base.config)
    return [
        *setup.check_template(base.template),
        *setup.check_tokens(base.tokenizer, base.template, base.config, stops),
        _rate(section, base.config),
        *setup.check_machine(section),
    ]


def _rate(section: Student, config: Any) -> Finding:
    try:
        return setup.check_rate(section, config)
    except ValueError as error:
        said = f"student.base: {section.base} cannot be read as a causal model: {' '.join(str(error).split())[:300]}"
        return Finding(
            "unloadable", "error", said, write="student: {base: ...}, a folder or a Hub id of a causal model"
        )


_NO_TRACES = Finding("no-traces", "error", "there is no trace to train on", write="a curate section that keeps some")


def made_up() -> Sequence[Trace]:
    """A few traces for where there are none yet: short and long, with mathematics and letters of several kinds."""
    said = [
        ("What is 17 + 25?", "17 + 25 is 17 + 20 + 5.\nThat is 37 + 5 = 42.", "\\boxed{42}"),
        ("Solve x² − 5x + 6 = 0.", "Factor: $(x-2)(x-3)=0$.\n\nWait, check: 2·3 = 6 ✓, 2+3 = 5 ✓.", "\\boxed{2, 3}"),
        ("甲比乙大三岁,乙十岁,甲几岁?", "乙 is 10, so 甲 is 10 + 3 = 13.  Naïve, but right.", "甲 is \\boxed{13}."),
        ("Is 91 prime?", "Try small primes. " + "7 · 13 = 91, so it is not. " * 40, "No. \\boxed{\\text{no}}"),
    ]
    return [_trace(prompt, Completion(reasoning, answer, "stop", None, None, "")) for prompt, reasoning, answer in said]


def _trace(prompt: str, completion: Completion) -> Trace:
    problem = Problem.of(prompt, "", "math", "made up")
    return Trace(Trace.name(problem, 0), problem, completion, "made up", 0, Sampling(), None, "", 0.0)
