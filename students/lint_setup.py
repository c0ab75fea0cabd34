"""What is checked before any trace is looked at: takes a tokenizer, a config and the recipe's section, gives findings.

No weight is read: parameters are counted by their shapes alone.
"""

import math
from pathlib import Path
from typing import Any

import torch

from distill import prompts, think
from distill.recipe import located
from distill.records import asked
from distill.student_sections import Student
from students import defaults
from students.arguments import missing_trackers
from students.findings import Finding

FAR = 5.0
"""So many times the default rate of the student's size, or that part of it, is far: all of DeepSeek's own rates, from
1.5 to 70 billion parameters, lie within a factor of five (arXiv 2501.12948v2, appendix B.4.3)."""
OUTSIDE = 10.0
"""So many times smaller or larger than every student of DeepSeek's, and their rates say little."""
_STAND_IN = "ASSISTANT3d8e51c7STANDIN"


class Template:
    """A chat template, asked what it does with a finished conversation."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prompt = prompts.rendered(tokenizer, asked("?"), opened=False)
        self.finished = self._finished(think.join(_STAND_IN, "42"))

    def _finished(self, reply: str) -> str | None:
        """A question and its reply, None where the template refuses them."""
        import jinja2

        turns = [{"role": "user", "content": asked("?")}, {"role": "assistant", "content": reply}]
        try:
            text: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        except (jinja2.TemplateError, TypeError):
            return None
        return text

    @property
    def keeps_reasoning(self) -> bool | None:
        """Whether a finished conversation still has its reasoning; None where the template refuses one."""
        return None if self.finished is None else _STAND_IN in self.finished

    @property
    def end_of_turn(self) -> str | None:
        """The first control token after a reply; None where there is none."""
        plain = self._finished(_STAND_IN) or ""
        after = plain.partition(_STAND_IN)[2]
        found = {after.find(control): control for control in prompts.controls(self.tokenizer) if control in after}
        return found[min(found)] if found else None


def check_template(template: Template) -> list[Finding]:
    """Whether reasoning outlives the template elsewhere, and whether a server starts where training starts."""
    return [_keeps(template), _opens(template), _clock(template)]


def _keeps(template: Template) -> Finding:
    code = "template-deletes-reasoning"
    if template.keeps_reasoning is None:
        return Finding(code, "note", "the chat template refuses a reply with <think>; distill never gives it one")
    if template.keeps_reasoning:
        return Finding(code, "ok", "the chat template keeps the reasoning of a finished conversation")
    return Finding(
        code,
        "warning",
        "the chat template deletes <think>…</think> from a finished conversation. Training here keeps it "
        "(see reasoning-lost), but another trainer that applies this template to messages trains on answers alone",
        write="for another trainer, a chat_template.jinja that does not split replies at </think>",
    )


def _opens(template: Template) -> Finding:
    code, tag = "thinking-unopened", think.OPEN
    if think.opens(template.prompt):
        return Finding(code, "ok", f"the chat template ends its generation prompt with {tag}, where training starts")
    return Finding(
        code,
        "warning",
        f"the chat template does not end its generation prompt with {tag}. Training, the gate and the released "
        "template put it there; a server that applies the base's own template starts before it, and the student never "
        "learns to write it",
        write=f"{{{{- '{tag}\\n' }}}} after the assistant's header, under `if add_generation_prompt`, in the base's "
        "chat_template.jinja",
    )


def _clock(template: Template) -> Finding:
    code = "template-clock"
    if "strftime_now" not in template.tokenizer.get_chat_template():
        return Finding(code, "ok", "the chat template writes no date")
    return Finding(
        code,
        "warning",
        "the chat template writes today's date, so that prompts after today differ from those trained on",
        write="a chat_template.jinja without strftime_now",
    )


def check_tokens(tokenizer: Any, template: Template, config: Any, stops: frozenset[int]) -> list[Finding]:
    """End of turn, padding, begin of sequence, and room for every token; `stops` are the generation settings' ids."""
    return [
        _end_of_turn(tokenizer, template, stops),
        _padding(tokenizer),
        _begin(tokenizer, template),
        _room(tokenizer, config),
    ]


def _end_of_turn(tokenizer: Any, template: Template, stops: frozenset[int]) -> Finding:
    code, end, eos = "stop-not-generation-eos", template.end_of_turn, tokenizer.eos_token
    if end is not None and end != eos:
        return Finding(
            code,
            "warning",
            f"the chat template ends a reply with {end}, and the student is trained to end with {eos}: what stops at "
            f"{end} alone never stops, and an earlier reply in a conversation ends as none was trained to",
            write=f'"eos_token": "{end}" in the base\'s tokenizer_config.json',
        )
    if stops and tokenizer.eos_token_id not in stops:
        named = ", ".join(str(tokenizer.convert_ids_to_tokens(stop)) for stop in sorted(stops))
        return Finding(
            code,
            "note",
            f"the base's generation settings stop at {named}, not at {eos}, which is trained; distill adds it to what "
            "it releases",
        )
    return Finding(code, "ok", f"the reply's end in the chat template, and what is trained as its end, is {eos}")


def _padding(tokenizer: Any) -> Finding:
    code, eos = "pad-is-eos", tokenizer.eos_token
    if tokenizer.pad_token_id != tokenizer.eos_token_id:
        return Finding(code, "ok", f"padding ({tokenizer.pad_token or 'none'}) is not the end of the sequence")
    return Finding(
        code,
        "note",
        f"padding and end of the sequence are both {eos}. It does no harm here: what is not trained is told by its "
        "place, never by its id (see stop-untrained); trainers that mask the padding id would never train the stop",
    )


def _begin(tokenizer: Any, template: Template) -> Finding:
    code, bos = "bos", tokenizer.bos_token
    adds = bos is not None and list(tokenizer("1")["input_ids"])[:1] == [tokenizer.bos_token_id]
    writes = bos is not None and template.prompt.startswith(bos)
    if adds and writes:
        return Finding(
            code,
            "note",
            f"the chat template writes {bos} and the tokenizer adds another to any text. Training, gate and chat "
            "servers add none; a program that tokenizes the rendered text itself needs add_special_tokens=False",
        )
    if adds:
        return Finding(
            code,
            "warning",
            f"the tokenizer begins every text with {bos}, as the base was pretrained, and the chat template leaves it "
            "out, so that the student is trained and run without it",
            write="{{- bos_token }} at the start of the base's chat_template.jinja",
        )
    return Finding(code, "ok", f"a prompt begins with {bos} once" if writes else "no begin-of-sequence token is used")


def _room(tokenizer: Any, config: Any) -> Finding:
    code, rows, tokens = "embedding-small", config.get_text_config().vocab_size, len(tokenizer)
    if rows >= tokens:
        return Finding(code, "ok", f"the base embeds {rows:,} tokens, and its tokenizer has {tokens:,}")
    return Finding(
        code,
        "error",
        f"the base embeds {rows:,} tokens and its tokenizer has {tokens:,}",
        write="student: {base: ...} with a base whose tokenizer belongs to it",
        count=tokens - rows,
    )


def check_rate(section: Student, config: Any) -> Finding:
    """The recipe's first learning rate beside the default of the student's size; raises ValueError where the base is
    no causal model that transformers knows, or its files cannot be read."""
    code = "rate-far"
    if section.learning_rate is None:
        return Finding(code, "ok", "the learning rate is left to the student's size (arXiv 2501.12948v2, B.4.3)")
    size, lora = count_parameters(section, config), section.lora is not None
    usual = defaults.learning_rate(size, lora, str(config.model_type))
    times = section.learning_rate / usual
    kind = "an adapter" if lora else "all weights"
    said = (
        f"{section.learning_rate:g} is {times:.2g} times {usual:g}, the default for {kind} of a base of "
        f"{size:,} parameters (arXiv 2501.12948v2, B.4.3{'; ten times that for LoRA' if lora else ''})"
    )
    if 1 / FAR <= times <= FAR:
        return Finding(code, "ok", said)
    known = [size for rows in defaults.FULL.values() for size in rows]
    outside = not min(known) / OUTSIDE <= size <= max(known) * OUTSIDE
    note = "; no rate was published for a base of such a size" if outside else ""
    return Finding(code, "note" if outside else "warning", said + note, write=f"student: {{learning_rate: {usual:g}}}")


def count_parameters(section: Student, config: Any) -> int:
    """All weights of the base, without reading any: by the headers of its safetensors files where it is a folder that
    has them, else by building it on the meta device, which takes transformers seconds to import."""
    files = sorted(Path(located("student.base", section.base)).glob("*.safetensors"))
    if files:
        return sum(map(_stored, files))
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=section.trust_remote_code)
    return int(model.num_parameters())


def _stored(file: Path) -> int:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            return sum(math.prod(opened.get_slice(name).get_shape()) for name in opened.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{file.name} is no safetensors file: {error}") from error


def check_machine(section: Student) -> list[Finding]:
    """What is slow or missing on this machine."""
    found = []
    cuda = torch.cuda.is_available()
    slow = section.dtype == "bfloat16" and not cuda and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")
    if slow:
        said = "there is no GPU, and this CPU has no bfloat16 instructions: float32 trains faster here"
        found.append(Finding("dtype-slow", "note", said, write="student: {dtype: float32}"))
    if section.optimizer.startswith("paged") and not cuda:
        said = f"optimizer: {section.optimizer} pages nothing without a GPU"
        found.append(Finding("optimizer-unpaged", "note", said, write="student: {optimizer: adamw_bnb_8bit}"))
    for tracker in missing_trackers(section):
        said = f"report_to names {tracker}, which is not installed"
        found.append(Finding("tracker-missing", "error", said, write=f"pip install {tracker}"))
    return found


def read_config(section: Student) -> Any:
    """The base's config; raises OSError or ValueError where there is none that transformers can read."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    path, revision = located("student.base", section.base), section.revision or "main"
    try:
        return AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=section.trust_remote_code)
    except StrictDataclassError as error:
        raise ValueError(str(error)) from error


def generation_stops(section: Student, config: Any) -> frozenset[int]:
    """The ids at which the base's generation settings, or else its config, stop."""
    from transformers import GenerationConfig

    try:
        path = located("student.base", section.base)
        stated = GenerationConfig.from_pretrained(path, revision=section.revision or "main").eos_token_id
    except OSError:
        stated = getattr(config.get_text_config(), "eos_token_id", None)
    return frozenset([stated] if isinstance(stated, int) else stated or ())
