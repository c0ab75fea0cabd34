"""transformers' Trainer with the loss of distillation: takes padded micro-batches, gives the loss and its log.

Legend: B documents, T their longest length, D hidden width, V vocabulary, N positions that have a target.
"""

import json
import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from distill.errors import DistillError
from distill.run import write_text
from students.batches import IGNORED
from students.losses import chunked_cross_entropy


class Meter:
    """What has been trained on so far, told in metrics.jsonl: a line for every step, none twice after a resume."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tokens = self.loss_tokens = 0
        self.seconds = 0.0
        self.loss = math.nan
        self._began = time.perf_counter()
        self._before = (0, 0.0)

    def begin(self, step: int) -> None:
        """Goes on after this step: takes its totals over and removes the lines of later steps."""
        lines = [line for line in _lines(self.file) if line["step"] <= step]
        write_text(self.file, "".join(json.dumps(line) + "\n" for line in lines))
        last: dict[str, Any] = lines[-1] if lines else {"tokens": 0, "loss_tokens": 0, "seconds": 0.0, "loss": math.nan}
        self.tokens, self.loss_tokens, self.seconds = last["tokens"], last["loss_tokens"], last["seconds"]
        self.loss = last["loss"]
        self._began = time.perf_counter() - self.seconds
        self._before = (self.tokens, self.seconds)

    def write(self, step: int, loss: float, learning_rate: float) -> dict[str, Any]:
        """Adds a step's line: loss in nats per token, totals of tokens and seconds, peak memory in GiB."""
        self.loss, self.seconds = loss, time.perf_counter() - self._began
        tokens, seconds = self._before
        line = {
            "step": step,
            "loss": loss,
            "learning_rate": learning_rate,
            "tokens": self.tokens,
            "loss_tokens": self.loss_tokens,
            "tokens_per_s": round((self.tokens - tokens) / max(self.seconds - seconds, 1e-9), 1),
            "seconds": round(self.seconds, 3),
            "peak_memory_gib": peak_memory_gib(),
        }
        self._before = (self.tokens, self.seconds)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


class DistillTrainer(Trainer):  # type: ignore[misc]
    """Supervised fine-tuning on completions, the logits never built in full and counted per token of a whole step."""

    def __init__(self, *args: Any, meter: Meter, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.meter = meter
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts the targets of a whole step
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's share of the step's mean loss, in nats per token."""
        labels_BT = inputs["labels"]
        inner = causal_lm(self.accelerator.unwrap_model(model))
        hidden_BTD = hidden_states(model, inner, inputs["input_ids"], inputs["attention_mask"])
        loss, count = completion_loss(hidden_BTD, inner.get_output_embeddings().weight, labels_BT)
        if model.training:
            self.meter.tokens += int(inputs["attention_mask"].sum())
            self.meter.loss_tokens += count
        share = loss / (count if num_items_in_batch is None else num_items_in_batch)
        share = share * self.accelerator.num_processes  # gradients are averaged over processes, not summed
        return (share, {"hidden_states": hidden_BTD}) if return_outputs else share


class Log(TrainerCallback):  # type: ignore[misc]
    """Writes every step's line and reports it; ends a training whose loss is no number, before it is saved."""

    def __init__(self, meter: Meter, report: Callable[[str], None]) -> None:
        self.meter, self.report = meter, report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Goes on where the checkpoint left off."""
        self.meter.begin(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """One line; raises DistillError for a loss that is not finite."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise DistillError(
                f"the loss is {loss} at step {state.global_step}; write a smaller student.learning_rate than "
                f"{args.learning_rate:g}, or dtype: float32"
            )
        if state.is_world_process_zero:
            line = self.meter.write(state.global_step, loss, float(logs.get("learning_rate", math.nan)))
            self.report(f"step {line['step']}/{state.max_steps}  loss {loss:.4f}  {line['tokens_per_s']:.0f} tokens/s")


def completion_loss(hidden_BTD: Tensor, head_weight_VD: Tensor, labels_BT: Tensor) -> tuple[Tensor, int]:
    """The summed loss over the positions whose NEXT token is trained, and how many those are."""
    next_BT = labels_BT[:, 1:]
    trained_BT = next_BT != IGNORED
    targets_N = next_BT[trained_BT]
    return chunked_cross_entropy(hidden_BTD[:, :-1][trained_BT], head_weight_VD, targets_N), int(targets_N.numel())


def hidden_states(model: nn.Module, inner: Any, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The last hidden states [B, T, D], through what wraps the causal LM `inner` (peft, DDP)."""
    with headless(inner.get_output_embeddings()):
        hidden_BTD: Tensor = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits
    return hidden_BTD


@contextmanager
def headless(head: nn.Module) -> Iterator[None]:
    """Lets the head hand its input on as it is, so that a causal LM's logits are its last hidden states."""
    before = head.__dict__.get("forward")
    head.__dict__["forward"] = lambda hidden_BTD: hidden_BTD
    try:
        yield
    finally:
        del head.__dict__["forward"]
        if before is not None:
            head.__dict__["forward"] = before


def causal_lm(model: Any) -> Any:
    """The causal LM itself, without the adapter's wrapping."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def peak_memory_gib() -> float:
    """The most memory held so far: the GPU's where there is one, else this process's."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file; one that a kill left torn is not counted."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines
