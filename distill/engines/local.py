"""Prompts to completions by a transformers model on this machine: takes requests, gives completions as they end.

Each row draws from its own stream of random numbers, seeded by the request: what a request gets does not depend on
what else is decoded beside it. Rows that end make room for others, which are read as a batch of their own and then
join one that runs.
"""

import contextlib
import hashlib
import inspect
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import transformers

from distill import prompts, think
from distill.engines.batch import Batch, Row
from distill.engines.capture import Capture, Captured
from distill.engines.draw import draw
from distill.errors import EngineError, InputError
from distill.quantization import settings
from distill.recipe import model_path, names_no_model
from distill.records import Completion, Failure, Request
from distill.teacher_sections import LocalTeacher

WINDOW = 8  # batches of prompts that are read ahead and sorted by length together
REFILL = 4  # new rows are taken in once one slot in so many is free
TOUCHES = 3  # how often a pass moves a byte of padding: an estimate; with OTHER_LAYER_BYTES it decides what is joined
LAYER_BYTES = {"cuda": 500_000_000}  # what could be moved while a layer is started: an estimate, not measured
OTHER_LAYER_BYTES = 10_000_000  # the same without a GPU; 1, 3 and 30 million were no faster with the bundled teacher
Quantization = Literal["none", "int8", "nf4"]


class _Waiting:
    """Requests that are read ahead, as rows: a window at a time, by length, attempts at one prompt side by side."""

    def __init__(self, requests: Iterable[Request | None], size: int) -> None:
        self._requests, self._size = iter(requests), size
        self.rows: list[Row] = []
        self.over = self.paused = False

    def read(self, row_of: Callable[[Request], Row]) -> list[Row]:
        """Reads until there is no room, or none to be had before an outcome is taken; gives the rows without room."""
        new: list[Row] = []
        while not self.over and not self.paused and len(self.rows) + len(new) < self._size:
            try:
                request = next(self._requests)
            except StopIteration:
                self.over = True
                break
            if request is None:
                self.paused = True
            else:
                new.append(row_of(request))
        first: dict[str, int] = {}
        for at, row in enumerate(new):
            first.setdefault(row.request.prompt, at)
        new.sort(key=lambda row: (-len(row.prompt), first[row.request.prompt]))
        self.rows += [row for row in new if row.room > 0]  # behind the rest of the last window: none waits for ever
        return [row for row in new if row.room <= 0]

    def take(self, room: int) -> list[Row]:
        """So many rows, or fewer where the attempts at one prompt would be torn apart though they fit by themselves."""
        rows, end = self.rows, min(room, len(self.rows))
        while 0 < end < len(rows) and rows[end].prompt == rows[end - 1].prompt:
            end -= 1
        end = end or min(room, len(rows))
        taken, self.rows = rows[:end], rows[end:]
        return taken


class LocalEngine:
    """An engine over a loaded causal model. Raises InputError for a tokenizer without a chat template.

    Where the model need not reason (`reasons` is False), a prompt ends as the chat template ends it, and a reply
    without any tag is an answer. `capture`, where it is set, takes the distributions at the tokens that are drawn.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, batch_size: int, reasons: bool = True) -> None:
        if not tokenizer.chat_template:
            raise InputError(
                f"the tokenizer of {name} has no chat template; add chat_template.jinja to the model's folder, "
                "for example that of deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
            )
        self.model, self.tokenizer, self.name, self.batch_size = model.eval(), tokenizer, name, batch_size
        self.reasons = reasons
        self.capture: Capture | None = None
        self._rows: dict[str, list[tuple[Any, Any]]] = {}  # captured of requests that have not ended
        self._assigned = max(tokenizer.get_vocab().values()) + 1
        self.opened = reasons or think.opens(prompts.rendered(tokenizer, "?", opened=False))
        self.stops = _stops(model, tokenizer)
        self.longest: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        self._last_logits = (
            {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        )
        self._pass_bytes = _pass_bytes(model)

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """Every request once, each as its row ends; a prompt longer than the model's context is a Failure.

        After a None, `requests` is asked again once another outcome was taken. Raises EngineError when the memory does
        not suffice or the model gives no numbers.
        """
        waiting = _Waiting(requests, WINDOW * self.batch_size)
        for outcome in self._outcomes(waiting):
            yield outcome
            waiting.paused = False

    def stream(self, request: Request) -> Iterator[int]:
        """One request's token ids, each as it is drawn, without the one that stops it: the same as `complete` draws
        for it by itself. Raises EngineError as `complete` does, and for a prompt longer than the model's context."""
        row = self._row(request)
        if row.room <= 0:
            raise EngineError(self._too_long(row).message)
        batch = Batch([row], self.model.get_input_embeddings().weight.device)
        while row.finish is None:
            with self._memory(1):
                tokens = self._step(batch, batch.rows)
            self._take(row, tokens[0])
            if row.finish != "stop":
                yield tokens[0]
            batch.feed(tokens)

    def render(self, prompt: str) -> str:
        """The user's turn as the model reads it, ending with the opening tag of its thinking where it must reason."""
        return prompts.rendered(self.tokenizer, prompt, opened=self.reasons)

    def _row(self, request: Request) -> Row:
        ids = prompts.prompt_ids(self.tokenizer, request.prompt, opened=self.reasons)
        digest = hashlib.sha256(f"{request.seed}:{request.id}".encode()).digest()
        room = min(request.sampling.max_tokens, self.longest - len(ids))
        return Row(request, ids, room, random.Random(int.from_bytes(digest[:8], "big")))

    def _outcomes(self, waiting: _Waiting) -> Iterator[tuple[Request, Completion | Failure]]:
        batches: list[Batch] = []
        while True:
            room = self._room(batches)
            if room > len(waiting.rows):
                for row in waiting.read(self._row):
                    yield row.request, self._too_long(row)
            if fresh := waiting.take(room):
                batches.append(Batch(fresh, self.model.get_input_embeddings().weight.device))
            for batch in batches:
                for row in self._advance(batch):
                    yield row.request, self._completion(row)
            batches = self._arranged(batches)
            if waiting.over and not waiting.rows and not batches:
                return
            waiting.paused = waiting.paused and bool(waiting.rows or batches)

    def _room(self, batches: list[Batch]) -> int:
        """How many rows to take in now."""
        free = self.batch_size - sum(batch.alive for batch in batches)
        joinable = all(batch.plain for batch in batches)
        return free if not batches or (joinable and REFILL * free >= self.batch_size) else 0

    def _advance(self, batch: Batch) -> Iterator[Row]:
        """One token for every row; yields the rows that end with it."""
        with self._memory(len(batch.rows)):
            tokens = self._step(batch, batch.rows)
        for row, token in zip(batch.rows, tokens, strict=True):
            if row.finish is None and self._take(row, token):
                yield row
        batch.feed(tokens)

    def _arranged(self, batches: list[Batch]) -> list[Batch]:
        """Lets go of ended rows once they are many, and joins batches where padding costs less than another pass."""
        arranged: list[Batch] = []
        with self._memory(sum(len(batch.rows) for batch in batches)):
            for batch in batches:
                if 0 < batch.alive <= len(batch.rows) * (1 - 1 / REFILL):
                    batch.tidy()
            for batch in sorted((batch for batch in batches if batch.alive), key=lambda batch: batch.width):
                if arranged and batch.plain and TOUCHES * batch.waste(arranged[-1]) <= self._pass_bytes:
                    batch.take_in(arranged.pop())
                arranged.append(batch)
        return arranged

    @contextlib.contextmanager
    def _memory(self, rows: int) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{self.name} runs out of memory with {rows} rows; write a smaller batch_size or max_tokens"
            ) from error

    def _take(self, row: Row, token: int) -> bool:
        """Adds a token to a row; whether the row ended with it."""
        if token in self.stops:
            row.finish = "stop"
        row.drawn.append(token)
        if row.finish is None and len(row.drawn) >= row.room:
            row.finish = "length"
        return row.finish is not None

    @torch.inference_mode()
    def _step(self, batch: Batch, rows: list[Row]) -> list[int]:
        """One forward pass and one token for every row."""
        out = self.model(**batch.inputs(), **self._last_logits)
        logits_NV = batch.passed(out.past_key_values, out.logits[:, -1].float())
        if self.capture is not None:
            self._keep(rows, logits_NV, self.capture.k)
        drawn: list[int] = draw(
            logits_NV,
            [row.request.sampling for row in rows],
            [row.random.random() for row in rows],
        )
        return drawn

    def _keep(self, rows: list[Row], logits_NV: torch.Tensor, k: int) -> None:
        """Keeps the likeliest tokens of rows that have not ended, before any temperature; padding rows of the head have
        no mass."""
        logits_NV = logits_NV[:, : self._assigned]
        top = logits_NV.topk(min(k, logits_NV.shape[1]))
        logprobs_NK = (top.values - logits_NV.logsumexp(-1, keepdim=True)).cpu().numpy()
        for row, ids_K, logprobs_K in zip(rows, top.indices.cpu().numpy(), logprobs_NK, strict=True):
            if row.finish is None:
                self._rows.setdefault(row.request.id, []).append((ids_K, logprobs_K))

    def _captured(self, row: Row) -> Captured | None:
        kept = self._rows.pop(row.request.id, None)
        if kept is None or row.finish != "stop":
            return None  # what is cut off is never learned from
        ids_NK, logprobs_NK = (np.stack(part) for part in zip(*kept, strict=True))
        return Captured(np.array(row.drawn, dtype=np.int32), ids_NK.astype(np.int32), np.minimum(logprobs_NK, 0))

    def _too_long(self, row: Row) -> Failure:
        message = f"the prompt has {len(row.prompt)} tokens, and the model's context has {self.longest}"
        return Failure(row.request.id, "PromptTooLong", message, 1)

    def _completion(self, row: Row) -> Completion:
        if self.capture is not None:
            self.capture.put(row.request.id, self._captured(row))
        kept = row.drawn[:-1] if row.finish == "stop" else row.drawn
        text = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        thought = think.split(text, opened=self.opened)
        return Completion(
            reasoning=thought.reasoning,
            answer=thought.answer,
            finish=row.finish or "length",
            prompt_tokens=len(row.prompt),
            completion_tokens=len(row.drawn),
            model=self.name,
            clean=thought.clean,
        )


def load(
    path: str,
    *,
    revision: str | None = None,
    quantization: Quantization = "none",
    batch_size: int = 64,
    trust_remote_code: bool = False,
    dtype: str | None = None,
    reasons: bool = True,
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
    return LocalEngine(model, tokenizer, name=path, batch_size=batch_size, reasons=reasons)


def load_teacher(section: LocalTeacher, *, reasons: bool = True) -> LocalEngine:
    """The engine of a recipe's section; raises as `load`."""
    return load(
        section.model,
        revision=section.revision,
        quantization=section.quantization,
        batch_size=section.batch_size,
        trust_remote_code=section.trust_remote_code,
        reasons=reasons,
    )


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


def _pass_bytes(model: Any) -> int:
    """How much could be moved in memory in the time of a pass: all weights, or what starting its layers takes."""
    weights = list(model.parameters())
    layers: int = getattr(model.config.get_text_config(), "num_hidden_layers", None) or 1
    started = layers * LAYER_BYTES.get(weights[0].device.type, OTHER_LAYER_BYTES)
    return max(sum(int(weight.nbytes) for weight in weights), started)
