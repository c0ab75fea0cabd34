"""What curation must know of the student: the recipe's section in, its tokenizer, control tokens and size out.

No weight is read: `tokenizer.json` and `config.json` suffice, from the base's folder or from the Hub.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import think
from distill.errors import InputError
from distill.recipe import located
from distill.records import Completion
from distill.student_sections import Student

TOKENIZER, CONFIG = "tokenizer.json", "config.json"


@dataclass(frozen=True)
class Pupil:
    """The student's tokenizer as a file, and its size in parameters, None where its config does not tell."""

    tokenizer: Path
    n_parameters: int | None


class TokenCounter:
    """Counts as the student reads. `controls` are the spellings of its control tokens."""

    def __init__(self, file: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        added = self._tokenizer.get_added_tokens_decoder().values()
        self.controls = frozenset(token.content for token in added if token.special)

    def count(self, completions: Sequence[Completion]) -> list[int]:
        """Tokens of reasoning and answer with the tags between them, without the prompt and the end of the sequence."""
        texts = [think.join(said.reasoning, said.answer) for said in completions]
        return [len(one.ids) for one in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def meet(section: Student, folder: Path) -> Pupil:
    """The student's tokenizer and size; `folder` takes the tokenizer where it must be made from other files.

    Raises InputError for a base without a tokenizer, or one that cannot be reached.
    """
    base = located("student.base", section.base)
    config = _file(base, CONFIG, section)
    tokenizer = _file(base, TOKENIZER, section) or _converted(base, section, folder)
    return Pupil(tokenizer, None if config is None else parameters(json.loads(config.read_text(encoding="utf-8"))))


def parameters(config: dict[str, Any]) -> int | None:
    """The weights of a decoder with gated feed-forward layers, counted from its config: embeddings, attention and
    feed-forward, norms and biases aside. None where the config does not have the numbers."""
    config = {**config, **config.get("text_config", {})}
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    if not all(isinstance(config.get(name), int) for name in names):
        return None
    vocabulary, width, layers, heads, inner = (int(config[name]) for name in names)
    per_head = int(config.get("head_dim") or width // heads)
    attention = 2 * width * per_head * (heads + int(config.get("num_key_value_heads") or heads))
    experts = next((int(config[name]) for name in ("num_local_experts", "num_experts") if config.get(name)), 1)
    inner = int(config.get("moe_intermediate_size") or inner) if experts > 1 else inner
    embeddings = vocabulary * width * (1 if config.get("tie_word_embeddings") else 2)
    return embeddings + layers * (attention + 3 * width * inner * experts)


def _file(base: str, name: str, section: Student) -> Path | None:
    """A file of the base, None where it has none of that name; raises InputError where the Hub cannot be asked."""
    if Path(base).is_dir():
        return Path(base) / name if (Path(base) / name).is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(base, name, revision=section.revision))
    except LocalEntryNotFoundError as error:  # an EntryNotFoundError too, but it says that the Hub was not reached
        raise _unreached(base, error) from error
    except EntryNotFoundError:
        return None
    except Exception as error:  # whatever the Hub client raises is told in one sentence, with its cause kept
        raise _unreached(base, error) from error


def _converted(base: str, section: Student, folder: Path) -> Path:
    """The tokenizer of a base that keeps it in another form, written as tokenizer.json."""
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(
            base, revision=section.revision, trust_remote_code=section.trust_remote_code
        )
        folder.mkdir(parents=True, exist_ok=True)
        found.backend_tokenizer.save(str(folder / TOKENIZER))
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"student.base: {section.base} has no {TOKENIZER}, and none can be made of what is there ({error}); "
            "curation counts tokens as the student does, so put its tokenizer into the folder"
        ) from error
    return folder / TOKENIZER


def _unreached(base: str, error: Exception) -> InputError:
    return InputError(
        f"student.base: {base} cannot be fetched from the Hub, and curation counts tokens as the student does; "
        f"write a local folder, or go online ({' '.join(str(error).split())[:200]})"
    )
