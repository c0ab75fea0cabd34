"""The recipe's section `curate`: which traces reach the student.

Each field is documented once, by the text under it.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from distill.sections import SamplingSection, Section
from distill.teacher_sections import EndpointTeacher, LocalTeacher

NOT_A_JUDGES = {
    "sampling": "write `sampling` beside `engine`, in the judge's own section",
    "budget": "write max_answers beside `engine` to bound what it may cost",
    "max_per_problem": "write votes beside `engine` for how often it is asked about an answer",
    "keep_per_problem": "take it out",
    "give_up_after": "take it out",
    "grace_s": "take it out: every vote is on disk as it comes in",
}
"""What a teacher's section has and a judge's engine may not set, with what to write instead."""


class Quality(Section):
    """What a trace must look like; a filter whose threshold is null is off. Cut-off answers, missing answers or
    reasoning, broken tags, error messages and control tokens are never kept. The defaults lie between what R1's own
    traces have and what models that go in circles have."""

    repetition: float | None = Field(0.25, gt=0, le=1)
    """The share of the words of the reasoning that may stand in sequences of twelve which were there before. R1 reaches
    0.20 where it checks itself; names, numbers and formulas do not count."""
    loop: int | None = Field(4, ge=1)
    """So many times in a row may a passage of four words and more stand. R1 reaches 2. Passages of fewer words may
    stand more often, and such as a sum of ones sixteen times as often."""
    foreign: float | None = Field(0.0002, gt=0, le=1)
    """The share of the words that may be of another language than the rest, beside a name or two. Names, formulas and
    quoted words do not count. The problem must be in the language of the reasoning, too."""
    paragraph_words: int | None = Field(600, gt=0)
    """Words that a paragraph may have. R1 reaches 430. Lists of short lines are no paragraph."""
    code: Literal["drop", "keep"] = "drop"
    """What is done with traces that hold program code, in a fenced block or without."""


class Duplicates(Section):
    """Which traces say again what another one says. Equal ones are always dropped but for one. Similarity is that of
    the sets of two words in a row (Jaccard): traces of the same problem by R1 and by other models reach 0.5, and with
    a tenth of its sentences left out or moved nearly every trace stays above 0.8."""

    near_problems: float | None = Field(0.8, gt=0, le=1)
    """Problems this similar are one problem, if their numbers and their answers are the same too; null compares none.
    Problems made from a template must have the same words."""
    near_reasoning: float | None = Field(0.8, gt=0, le=1)
    """Traces of a problem whose reasoning is this similar are one trace, and those of other problems too if the numbers
    in it and the answers are the same; null compares none."""


class Decontaminate(Section):
    """How traces are held against the gate's own prompts."""

    ngram: int = Field(13, ge=4)
    """Words in a row that may not be shared with a prompt of the gate; shorter prompts are compared whole."""
    common_in: int = Field(10, ge=2)
    """Words in a row shared by so many prompts of a task, names and numbers aside, are its template (bound of arXiv
    2005.14165, appendix C)."""
    fuzzy: float | None = Field(0.75, gt=0, le=1)
    """Prompts this similar to one of the gate's, whatever their order and the names in them, are taken for it; null
    leaves this stage out. Measured: at 0.75 it takes six of the 14,947 training problems of GSM8K and MATH."""
    reasoning: bool = True
    """Look for shared words in a row in the reasoning and the answer too, not only in the prompt."""


class Judge(Section):
    """A model that is asked whether an answer is right, where rules do not suffice."""

    engine: Annotated[EndpointTeacher | LocalTeacher, Field(discriminator="kind")]
    """Which model, and where: as in the teacher's section, without what belongs to sampling traces. It need not be a
    reasoning model. Vote i of an answer has the engine's `seed` + i."""
    combine: Literal["undecided", "rescue", "agree"] = "undecided"
    """undecided: the rule decides, and the judge only where it cannot. rescue: the judge is asked about wrong answers
    too, and may save them. agree: the judge is asked about right answers, and may refuse them: nothing is kept but
    what is right for both."""
    votes: int = Field(1, ge=1)
    """How often it is asked about an answer; more than half of the votes that it casts decide, so an odd number is
    best."""
    max_answers: int | None = Field(None, gt=0)
    """Rule on at most so many answers, in the order in which they come, and leave the rest undecided. Times `votes`, it
    is the most requests that are sent; it stands in the place of a budget."""
    prompt: str | None = None
    """A file with a prompt of your own; left out, the one that comes with the package (distill/curate/judge.md)."""
    sampling: SamplingSection = SamplingSection(max_tokens=8192)
    """How its votes are drawn."""

    @model_validator(mode="after")
    def _nothing_of_the_sampler(self) -> Self:
        fields = type(self.engine).model_fields
        for name, instead in NOT_A_JUDGES.items():
            if name in fields and getattr(self.engine, name) != fields[name].get_default():
                raise ValueError(f"engine.{name} is for sampling traces, and a judge has no use for it; {instead}")
        if self.votes > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"votes: {self.votes} at temperature: 0 are one vote, cast {self.votes} times; write votes: 1, or a "
                "temperature such as 0.6 in sampling"
            )
        return self


class Select(Section):
    """Which of the good traces are taken; the steps are tried in the order of the settings. What is left out bounds
    nothing, but for `prefer` and `long_share`, which follow from the student's size (distill/curate/select.py says how,
    and from which papers)."""

    pass_rate: tuple[float, float] | None = None
    """Keep problems of which this share of the attempts was right, such as [0.1, 0.9]: neither too hard nor too easy.
    It counts where a problem has several attempts."""
    per_problem: int | None = Field(None, gt=0)
    """At most so many traces of a problem."""
    prefer: Literal["shorter", "diverse"] | None = None
    """Which of a problem's traces are taken first. diverse: the shortest, then always the one that is least similar to
    those before it. Left out: shorter for students of up to 3 billion parameters, above diverse."""
    long_tokens: int = Field(4096, gt=0)
    """A trace of more tokens is long."""
    long_share: float | None = Field(None, gt=0, le=1)
    """The share of the traces that may be long; 1 sets no bound. Long ones whose problem has another trace go first,
    the longest before the others. Left out: 0.2 for students of up to 3 billion parameters, unless that would cost
    more than half of the traces; above no bound."""
    source_share: float | None = Field(None, gt=0, le=1)
    """The share of the traces that one source may have."""
    max_total_tokens: int | None = Field(None, gt=0)
    """Take so many tokens in all, at most: the first trace of every problem, then the second, one source in turn."""

    @model_validator(mode="after")
    def _a_range(self) -> Self:
        if self.pass_rate is not None and not 0 <= self.pass_rate[0] <= self.pass_rate[1] <= 1:
            raise ValueError("select: pass_rate takes the lowest and the highest share, such as [0.1, 0.9]")
        return self


class Curate(Section):
    """Which traces reach the student."""

    verify: bool = True
    """Drop traces whose answer is wrong or cannot be verified."""
    verify_timeout_s: float = Field(5, gt=0)
    """For one answer; then its worker is killed and the answer counts as unverifiable."""
    verify_memory_mb: int = Field(2048, ge=256)
    """What one worker may use; an answer that needs more is unverifiable."""
    judge: Judge | None = None
    """A model that is asked where the rules do not suffice."""
    min_tokens: int | None = Field(None, gt=0)
    """Drop completions shorter than this, counted by the student's own tokenizer."""
    max_tokens: int | None = Field(None, gt=0)
    """Drop completions longer than this, counted by the student's own tokenizer."""
    quality: Quality = Quality()
    """What a trace must look like."""
    decontaminate: Decontaminate = Decontaminate()
    """Always on: what is tested on is never trained on."""
    duplicates: Duplicates = Duplicates()
    """Which traces say the same."""
    select: Select = Select()
    """Which of the good ones are taken."""
    warn_share: float = Field(0.3, gt=0, le=1)
    """Say what to do where one filter drops more than this share of the traces."""
    workers: int | None = Field(None, gt=0)
    """Processes that look at traces; left out, one for every core."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Self:
        if self.min_tokens is not None and self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise ValueError(
                f"min_tokens: {self.min_tokens} is more than max_tokens: {self.max_tokens}; no trace has both"
            )
        if self.judge is not None and not self.verify:
            raise ValueError("a judge rules on answers, and verify: false asks for no ruling; take one of them out")
        return self
