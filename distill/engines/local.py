"""Prompts to completions by a transformers model on this machine: takes requests, gives completions batch by batch.

Each row draws from its own stream of random numbers, seeded by the request: what a request gets does not depend on
what else is in its batch.
"""

import hashlib
import inspect
import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from distill import prompts, think
from distill.engines.draw import draw
from distill.errors import EngineError, InputError
from distill.quantization import settings
from distill.recipe import model_path, names_no_model
from distill.records import Completion, Failure, Request

WINDOW = 8  # batches of prompts that are sorted by length together
Quantization = Literal["none", "int8", "nf4"]


@dataclass
class _Row:
    """A request on its way: its prompt's token ids, and those drawn so far."""

    request: Request
    prompt: list[int]
    room: int
    random: random.Random
    drawn: list[int] = field(default_factory=list)
    finish: Literal["stop", "length"] | None = None


class LocalEngine:
    """An engine over a loaded causal model. Raises InputError for a tokenizer without a chat template."""

    def __init__(self, model: Any, tokenizer: Any, *, name: str, batch_size: int) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                f"the tokenizer of {name} has no chat template; add chat_template.jinja to the model's folder, "
                "for example that of deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
            )
        self.model, self.tokenizer, self.name, self.batch_size = model.eval(), tokenizer, name, batch_size
        self.stops = _stops(model, tokenizer)
        self.longest: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        self._last_logits = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        )

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, each as its row ends; a prompt longer than the model's context is a Failure.

        Raises EngineError when the memory does not suffice or the model gives no numbers.
        """
        waiting = iter(requests)
        while window := list(itertools.islice(waiting, WINDOW * self.batch_size)):
            rows = sorted((self._row(request) for request in window), key=lambda row: -len(row.prompt))
            fitting = [row for row in rows if row.room > 0]
            for row in rows:
                if row.room <= 0:
                    message = f"the prompt has {len(row.prompt)} tokens, and the model's context has {self.longest}"
                    yield row.request, Failure(row.request.id, "PromptTooLong", message, 1)
            for start in range(0, len(fitting), self.batch_size):
                for row in self._run(fitting[start : start + self.batch_size]):
                    yield row.request, self._completion(row)

    def render(self, prompt: str) -> str:
        """The user's turn as the model reads it, ending with the opening tag of its thinking."""
        return prompts.rendered(self.tokenizer, prompt)

    def _row(self, request: Request) -> _Row:
        ids = prompts.prompt_ids(self.tokenizer, request.prompt)
        digest = hashlib.sha256(f"{request.seed}:{request.id}".encode()).digest()
        room = min(request.sampling.max_tokens, self.longest - len(ids))
        return _Row(request, ids, room, random.Random(int.from_bytes(digest[:8], "big")))

    def _run(self, rows: list[_Row]) -> Iterator[_Row]:
        """Decodes one batch; yields each row when it ends, and lets go of ended rows once they are most of it."""
        batch = self._batch(rows)
        while rows:
            try:
                tokens = self._step(batch, rows)
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    f"{self.name} runs out of memory with {len(rows)} rows; write a smaller batch_size or max_tokens"
                ) from error
            for row, token in zip(rows, tokens, strict=True):
                if row.finish is None and self._take(row, token):
                    yield row
            alive = [at for at, row in enumerate(rows) if row.finish is None]
            if not alive:
                return
            if 2 * len(alive) < len(rows):
                rows, tokens = [rows[at] for at in alive], [tokens[at] for at in alive]
                batch.keep(torch.tensor(alive, device=batch.mask.device))
            batch.feed(tokens)

    def _take(self, row: _Row, token: int) -> bool:
        """Adds a token to a row; whether the row ended with it."""
        if token in self.stops:
            row.finish = "stop"
        row.drawn.append(token)
        if row.finish is None and len(row.drawn) >= row.room:
            row.finish = "length"
        return row.finish is not None

    def _batch(self, rows: list[_Row]) -> "_Batch":
        width = max(len(row.prompt) for row in rows)
        ids = [[0] * (width - len(row.prompt)) + row.prompt for row in rows]  # masked: any id of the vocabulary does
        mask = [[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
        device = self.model.get_input_embeddings().weight.device
        return _Batch(torch.tensor(ids, device=device), torch.tensor(mask, device=device))

    @torch.inference_mode()
    def _step(self, batch: "_Batch", rows: list[_Row]) -> list[int]:
        """One forward pass and one token for every row."""
        out = self.model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            position_ids=(batch.mask.cumsum(-1) - 1).clamp(min=0)[:, -batch.ids.shape[1] :],
            past_key_values=batch.cache,
            use_cache=True,
            **self._last_logits,
        )
        batch.cache = out.past_key_values
        drawn: list[int] = draw(
            out.logits[:, -1].float(),
            [row.request.sampling for row in rows],
            [row.random.random() for row in rows],
        )
        return drawn

    def _completion(self, row: _Row) -> Completion:
        kept = row.drawn[:-1] if row.finish == "stop" else row.drawn
        text = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        thought = think.split(text, opened=True)
        return Completion(
            reasoning=thought.reasoning,
            answer=thought.answer,
            finish=row.finish or "length",
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.drawn),
            model=self.name,
            clean=thought.clean,
        )


class _Batch:
    """What the next forward pass takes: ids, the mask over all so far, and the cache."""

    def __init__(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        self.ids, self.mask = ids, mask
        self.cache: Any = None

    def keep(self, rows: torch.Tensor) -> None:
        """Lets all other rows go."""
        self.mask = self.mask[rows]
        self.cache.batch_select_indices(rows)

    def feed(self, tokens: list[int]) -> None:
        """Puts each row's newest token up for the next pass."""
        self.ids = torch.tensor(tokens, device=self.mask.device)[:, None]
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=-1)


def load(
    path: str,
    *,
    revision: str | None = None,
    quantization: Quantization = "none",
    batch_size: int = 64,
    trust_remote_code: bool = False,
    dtype: str | None = None,
) -> LocalEngine:
    """The engine of a model folder, a Hub id or a bundled name; by default in bfloat16 on a GPU and float32 without.

    Raises InputError for what is no model, or cannot be quantized so here.
    """
    where, cuda = model_path(path), torch.cuda.is_available()
    if names_no_model(path) and not Path(where).is_dir():
        raise InputError(f"{path}: there is no such model folder")
    weights = getattr(torch, dtype or ("bfloat16" if cuda else "float32"))
    options: dict[str, Any] = {"dtype": weights, "device_map": "auto" if cuda else {"": "cpu"}}
    if quantization != "none":
        options["quantization_config"] = settings(quantization, weights)
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(where, **common)
        model = transformers.AutoModelForCausalLM.from_pretrained(where, **common, **options)
    except torch.OutOfMemoryError as error:
        raise EngineError(f"{path} does not fit into the GPU's memory; write quantization: nf4") from error
    except Exception as error:  # whatever transformers raises is told in one sentence, with its cause kept
        raise InputError(f"{path} cannot be loaded as a model: {' '.join(str(error).split())[:400]}") from error
    if quantization == "nf4" and not cuda:
        _check_blocks(model, path)
    return LocalEngine(model, tokenizer, name=path, batch_size=batch_size)


def _check_blocks(model: Any, path: str) -> None:
    """bitsandbytes' CPU inference needs widths that its blocks of 64 divide; raises InputError for others."""
    for name, layer in model.named_modules():
        if type(layer).__name__ == "Linear4bit" and layer.in_features % 64:
            raise InputError(
                f"{path}: {name} is {layer.in_features} wide, and nf4 without a GPU needs a multiple of 64; "
                "write quantization: int8"
            )


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends an answer, by the model's generation settings and by the tokenizer."""
    stated = model.generation_config.eos_token_id if model.generation_config is not None else None
    stated = stated if isinstance(stated, (list, tuple)) else [stated]
    return frozenset(int(token) for token in (*stated, tokenizer.eos_token_id) if token is not None)
