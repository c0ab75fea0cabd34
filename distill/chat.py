"""`distill chat`: takes a run or a model folder and a person's questions, gives what the student says as it is drawn.

At a terminal its thinking is dimmed. Where questions are piped in, a line each, answers go to standard output and
thinking to standard error. Every question is asked by itself, as in training and in the gate.
"""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill import shards, think
from distill.errors import EngineError, InputError
from distill.recipe import model_path
from distill.records import Checkpoint, Failure, Request, Sampling, asked, printable, storable
from distill.run import STAGES, Run

if TYPE_CHECKING:
    from distill.engines.local import LocalEngine

MARKS = (think.OPEN, think.CLOSE)
ENDLESS = "(no answer: the thinking did not come to an end)"
CUT_OFF = "(the answer did not come to an end)"
LETTER = 8  # tokens that one letter may take, at most: those of bytes are four, and a few of them may be in doubt


@dataclass(frozen=True)
class Student:
    """Who is talked to, and how it draws its answers."""

    name: str
    engine: "LocalEngine"
    sampling: Sampling


def of_run(run: Run) -> Student:
    """A run's student: its merged weights once there are any, before that as it was trained, the adapter on its base.

    It draws as in the gate. Raises InputError where it is not trained yet, or cannot be loaded.
    """
    from distill.engines.local import load

    manifest = run.manifest("train")
    if manifest is None:
        raise InputError(f"{run.root} has no trained student yet; `distill train RECIPE` makes it")
    recipe = json.loads((run.root / "recipe.json").read_text(encoding="utf-8"))
    sampling, trusted = Sampling(**recipe["gate"]["sampling"]), bool(recipe["student"]["trust_remote_code"])
    merged = run.root / STAGES["gate"] / "merged"
    checkpoint: Checkpoint = shards.from_row(Checkpoint, manifest | {"path": str(run.root / manifest["path"])})
    if merged.is_dir():
        name, engine = "merged weights", load(str(merged), batch_size=1, trust_remote_code=trusted)
    elif checkpoint.adapter:
        name, engine = f"an adapter on {checkpoint.base}", _adapted(checkpoint, trusted)
    else:
        name, engine = "all weights", load(checkpoint.path, batch_size=1, trust_remote_code=trusted)
    return Student(f"the student of {run.root}, step {checkpoint.step}, {name}", engine, sampling)


def of_folder(name: str) -> Student:
    """A model folder, such as a variant of a release, or a bundled model; it draws as R1 does. Raises InputError."""
    from distill.engines.local import load

    folder = Path(model_path(name))
    if not (folder / "config.json").is_file():
        raise InputError(f"{name!r} is neither a run with a recipe.json, here or in ./runs, nor a model{_hint(folder)}")
    return Student(name, load(str(folder), batch_size=1), Sampling())


def _hint(folder: Path) -> str:
    if (folder / "adapter_config.json").is_file():
        return " but an adapter; write the run that it is from"
    variants = sorted(str(path.parent) for path in folder.glob("*/config.json"))
    return f"; write {' or '.join(variants)}" if variants else " folder with a config.json"


def _adapted(checkpoint: Checkpoint, trusted: bool) -> "LocalEngine":
    """The adapter on its base, quantized as it was while it was trained."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    from distill.engines.local import LocalEngine, load

    if not Path(checkpoint.path).is_dir():
        raise InputError(f"there is no trained student in {checkpoint.path}; train it again")
    quantization: Any = checkpoint.quantization
    revision = checkpoint.base_revision or None
    base = load(checkpoint.base, revision=revision, quantization=quantization, batch_size=1, trust_remote_code=trusted)
    try:
        model = PeftModel.from_pretrained(
            base.model, checkpoint.path
        ).get_base_model()  # with the adapter in its layers
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, trust_remote_code=trusted)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:400]
        raise InputError(f"{checkpoint.path} holds no adapter that fits {checkpoint.base}: {reason}") from error
    return LocalEngine(model, tokenizer, name=checkpoint.path, batch_size=1)


def talk(student: Student, seed: int, max_tokens: int | None) -> None:
    """Answers until there is no question left; `max_tokens` takes the place of the student's own limit.

    At a terminal an answer that is interrupted, or for which memory is short, does not end the talk; elsewhere
    EngineError does.
    """
    if max_tokens is not None:
        student = replace(student, sampling=replace(student.sampling, max_tokens=max_tokens))
    if sys.stdin.isatty() and sys.stdout.isatty():
        _at_terminal(student, seed)
    else:
        _piped(student, seed, sys.stdin)


def _piped(student: Student, seed: int, lines: Iterable[str]) -> None:
    from rich.console import Console

    aside = Console(stderr=True)
    for request in _requests(student, seed, _utf8(lines)):
        for _, came in student.engine.complete([request]):
            if isinstance(came, Failure):
                raise EngineError(came.message)
            aside.out(printable(came.reasoning or "(no thinking)"), style="dim", highlight=False)
            if came.unfinished:
                aside.out(CUT_OFF if came.answer else ENDLESS, style="dim", highlight=False)
            print(printable(came.answer), flush=True)


def _utf8(lines: Iterable[str]) -> Iterator[str]:
    """Questions that are not empty; raises InputError for what is no text."""
    try:
        yield from (line.strip() for line in lines if line.strip())
    except UnicodeDecodeError as error:
        raise InputError("the questions on standard input are not UTF-8; write them as such, a line each") from error


def _at_terminal(student: Student, seed: int) -> None:
    from rich.console import Console

    console = Console()
    console.out(
        f"{printable(student.name)}\nCtrl-C stops an answer, an empty line or Ctrl-D ends.",
        style="dim",
        highlight=False,
    )
    for request in _requests(student, seed, _typed()):
        try:
            _say(student, request, console)
        except KeyboardInterrupt:
            console.out("\n(stopped)", style="dim", highlight=False)
        except EngineError as error:
            console.out(printable(str(error)), style="red", highlight=False)


def _typed() -> Iterator[str]:
    import readline  # noqa: F401  # gives `input` its arrow keys and its history

    while True:
        try:
            question = input("> ").strip()
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print("\n(an empty line or Ctrl-D ends)")
            continue
        if not question:
            return
        yield question


def _requests(student: Student, seed: int, questions: Iterable[str]) -> Iterator[Request]:
    for turn, question in zip(itertools.count(), questions):
        yield Request(f"chat#{turn}", asked(storable(question)), seed, student.sampling)


def _say(student: Student, request: Request, console: Any) -> None:
    """Prints one reply as it comes: the thinking dim, an empty line, the answer."""
    parts, was_thinking = Parts(opened=student.engine.opened), True
    for thinking, text in parts.read(_texts(student.engine, request)):
        if was_thinking and not thinking:
            console.out("\n")
        was_thinking = thinking
        console.out(printable(text), style="dim" if thinking else None, highlight=False, end="")
    console.out("")
    if parts.thinking:
        console.out(ENDLESS, style="dim", highlight=False)


def _texts(engine: "LocalEngine", request: Request) -> Iterator[str]:
    """What is drawn as text, in pieces that each end with a whole letter."""
    ids: list[int] = []
    before = read = 0  # the piece is what the tokens from `before` read as, less what those up to `read` read as
    for token in engine.stream(request):
        ids.append(token)
        text = _decoded(engine, ids[before:])
        if text.endswith("\ufffd") and len(ids) - read < LETTER:
            continue
        yield text[len(_decoded(engine, ids[before:read])) :]
        before, read = read, len(ids)
    yield _decoded(engine, ids[before:])[len(_decoded(engine, ids[before:read])) :]


def _decoded(engine: "LocalEngine", ids: list[int]) -> str:
    text: str = engine.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text


class Parts:
    """Tells thinking from answer while a reply still comes in. `thinking` says which of them it is in now."""

    def __init__(self, *, opened: bool) -> None:
        self.thinking = opened
        self._held = ""
        self._fresh = True

    def read(self, texts: Iterable[str]) -> Iterator[tuple[bool, str]]:
        """Takes the pieces of a reply; gives pieces without tags, each with whether it is thinking. White space
        beside a tag, and at the end, is left out."""
        for text in texts:
            self._held += text
            while found := min((mark for mark in MARKS if mark in self._held), key=self._held.index, default=None):
                before, _, self._held = self._held.partition(found)
                yield from self._part(before.rstrip())
                self.thinking, self._fresh = found == think.OPEN, True
            ready = len(self._held[: len(self._held) - _begun(self._held)].rstrip())
            before, self._held = self._held[:ready], self._held[ready:]
            yield from self._part(before)
        yield from self._part(self._held.rstrip())

    def _part(self, text: str) -> Iterator[tuple[bool, str]]:
        text = text.lstrip() if self._fresh else text
        if text:
            self._fresh = False
            yield self.thinking, text


def _begun(text: str) -> int:
    """How many letters at the end of a text may be the beginning of a tag."""
    return max((size for mark in MARKS for size in range(1, len(mark)) if text.endswith(mark[:size])), default=0)
