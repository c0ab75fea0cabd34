"""What a judge is sent about an answer, and what its replies say: a prompt and an answer in, a text for the model out;
completions in, votes and a ruling out.

The prompt is a file, `judge.md` or the recipe's own. A vote is a reply that says `VERDICT: RIGHT`, `VERDICT: WRONG` or
`VERDICT: UNCLEAR` on a line of its own. A reply that was cut off, or has no such line, is a failed vote. Everything
that goes into the prompt is hostile: it is fenced, and cannot end its fence.
"""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Literal, get_args

from distill.errors import InputError
from distill.records import Completion, Problem, Ruling

PROMPT = Path(__file__).with_name("judge.md")
PLACEHOLDERS = ("question", "reference", "answer")
FORMAT = ("VERDICT: RIGHT", "VERDICT: WRONG")  # what a prompt must tell the judge; UNCLEAR is left to its author
LONGEST_ANSWER = 4_000  # characters of an answer that a judge is shown, from the end: what is stated last counts
LONGEST_REFERENCE = 20_000  # the same of a question, and of a reference
LONGEST_LINE = 200  # characters; a longer line is no verdict
CANNOT_TELL = "cannot tell: "
"""How the detail of a ruling begins where the judge voted and did not decide. Where `right` is None and it begins in
any other way, the judge failed."""

Side = Literal["right", "wrong", "unclear"]
_SIDES: dict[str, Side] = {side: side for side in get_args(Side)}
_MARKUP = re.compile(r"\\(?:boxed|fbox|text|textbf|mathbf|mathrm|textrm)\b|\\[()\[\],;\s]|[*_`#$\s{}]")
_VERDICT = re.compile(r"verdict[:：](right|wrong|unclear)[.!]?", re.IGNORECASE)
_CONTROL = re.compile(r"<(?=[|｜]|/?[A-Za-z_]\w{0,40}>)|\[(?=/?[A-Z_]{3,40}\])")
"""Where the spelling of a control token may begin: `<|im_end|>`, `<｜User｜>`, `</s>`, `<end_of_turn>`, `[INST]`."""


@dataclass(frozen=True)
class Asked:
    """One answer that a judge is asked about. `id` is the trace's, `answer` the text after its reasoning; the reasoning
    is never shown to a judge."""

    id: str
    problem: Problem
    answer: str


def read_prompt(path: str | None) -> Template:
    """The prompt of a recipe, or the package's own; raises InputError for a file that cannot be one."""
    where = Path(path).expanduser() if path else PROMPT
    try:
        template = Template(where.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"curate.judge.prompt: {where} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"curate.judge.prompt: {where} is not UTF-8; save it as such") from error
    named = template.get_identifiers()
    if missing := [f"${name}" for name in PLACEHOLDERS if name not in named]:
        raise InputError(f"curate.judge.prompt: {where} lacks {', '.join(missing)}; write them where the texts belong")
    if missing := [line for line in FORMAT if line not in template.template]:
        raise InputError(
            f"curate.judge.prompt: {where} does not tell the judge how to answer; ask it to end with a line that reads "
            f"{' or '.join(missing)}"
        )
    return template


def render(template: Template, asked: Asked) -> str:
    """The prompt about an answer. Each text is fenced with a code that none of them can hold, and is not read as a
    template itself."""
    texts = {
        "question": _shown(asked.problem.prompt, LONGEST_REFERENCE),
        "reference": _shown(asked.problem.answer, LONGEST_REFERENCE),
        "answer": _shown(asked.answer, LONGEST_ANSWER),
    }
    whole = json.dumps(texts, sort_keys=True)
    code = digest(whole)[:16]
    while code in whole:
        code = digest(code)[:16]
    fenced = {
        name: f"===== {name.upper()} {code} =====\n{text}\n===== END OF {name.upper()} {code} ====="
        for name, text in texts.items()
    }
    return template.safe_substitute(fenced)


def _shown(text: str, longest: int) -> str:
    """The end of a text, without control and other invisible characters, and with no control token of a model's spelled
    out: a server takes the spelling for the token."""
    end = text[-longest:].replace("\r\n", "\n").replace("\r", "\n")
    if not end.replace("\n", "").replace("\t", "").isprintable():  # which most texts are, and that is soon seen
        end = "".join(char for char in end if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    plain = _CONTROL.sub(lambda match: f"{match[0]} ", end)
    return f"[...]\n{plain}" if len(text) > longest else plain


def digest(text: str) -> str:
    """The sha256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_reply(reply: Completion) -> tuple[Side | None, str]:
    """The side that a reply takes, or None and why it is no vote: the last line of its answer part that is a verdict,
    in any case, bold, boxed or plain. What was thought before is no vote."""
    if reply.unfinished:
        return None, "the reply was cut off; a larger sampling.max_tokens may help"
    for line in reversed(reply.answer.splitlines()):
        if len(line) <= LONGEST_LINE and (match := _VERDICT.fullmatch(_MARKUP.sub("", line))):
            return _SIDES[match[1].lower()], ""
    end = " ".join(reply.answer[-120:].split())
    return None, f"the reply has no line that says {FORMAT[0]} or {FORMAT[1]}, and ends with {end!r}"


@dataclass(eq=False)
class Ballot:
    """The votes on one answer as they come in; `open` are still to come."""

    asked: Asked
    votes: int
    open: int
    sides: Counter[Side] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def count(self, side: Side | None, why: str = "") -> None:
        self.open -= 1
        if side is None:
            self.failed.append(why)
        else:
            self.sides[side] += 1

    def ruling(self, by: str) -> Ruling:
        """What more than half of the votes cast say, if more than half of all were cast."""
        cast = self.sides.total()
        said = [f"{count} {side}" for side in get_args(Side) if (count := self.sides[side])]
        said += [f"{len(self.failed)} failed"] if self.failed else []
        tally = f"{', '.join(said)} of {self.votes} {'vote' if self.votes == 1 else 'votes'}"
        if 2 * cast <= self.votes:
            return Ruling(by, None, f"{tally}; {self.failed[0]}")
        for side in ("right", "wrong"):
            if 2 * self.sides[side] > cast:
                return Ruling(by, side == "right", tally)
        return Ruling(by, None, CANNOT_TELL + tally)
