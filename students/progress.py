"""What a training tells of itself: takes the Trainer's logs, gives metrics.jsonl and lines for people."""

import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from distill.errors import DistillError
from distill.run import write_text
from students.display import Display
from students.plot import draw


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
        steps = [line for line in lines if "loss" in line]
        last: dict[str, Any] = steps[-1] if steps else {"tokens": 0, "loss_tokens": 0, "seconds": 0.0, "loss": math.nan}
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
        self._append(line)
        return line

    def write_held_out(self, step: int, figures: dict[str, float]) -> None:
        """Adds what was measured on held-out problems after a step."""
        self._append({"step": step, **figures})

    def draw(self) -> None:
        """Leaves loss.svg beside the metrics."""
        draw(_lines(self.file), self.file.with_name("loss.svg"))

    def _append(self, line: dict[str, Any]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Finished(Exception):
    """The last checkpoint is already that of the last step: there is nothing left to train."""


class Log(TrainerCallback):  # type: ignore[misc]
    """Writes every step's line and reports it; ends a training that left the numbers, before it is saved."""

    def __init__(self, meter: Meter, display: Display) -> None:
        self.meter, self.display = meter, display
        self._first = (0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Goes on where the checkpoint left off; raises Finished where that is the end."""
        if state.is_world_process_zero:
            self.meter.begin(state.global_step)
        self._first = (state.global_step, self.meter.seconds)
        if state.best_global_step is not None:  # the run's folder may have been moved since
            state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{state.best_global_step}")
        if state.global_step >= state.max_steps:
            self.on_save(args, state, control)
            raise Finished
        if state.is_world_process_zero:
            self.display.begin(state.global_step, state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """One line; raises DistillError for a loss or a gradient that is not finite."""
        if not logs or "loss" not in logs:
            return
        loss = float(logs["loss"])
        self._must_be_finite("loss", loss, args, state)
        self._must_be_finite("gradient's norm", float(logs.get("grad_norm", 0.0)), args, state)
        if state.is_world_process_zero:
            line = self.meter.write(state.global_step, loss, float(logs.get("learning_rate", math.nan)))
            step, seconds = self._first
            left_s = (self.meter.seconds - seconds) / max(line["step"] - step, 1) * (state.max_steps - line["step"])
            self.display.step(line, state.max_steps, left_s)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> Any:
        """The last step is measured too, wherever it falls; no checkpoint is made of weights that are no numbers."""
        if args.eval_strategy != "no" and state.global_step >= state.max_steps:
            control.should_evaluate = True
        if control.should_save:
            finite = all(bool(one.detach().isfinite().all()) for one in model.parameters() if one.requires_grad)
            self._must_be_finite("largest weight", 0.0 if finite else math.nan, args, state)
        return control

    @staticmethod
    def _must_be_finite(what: str, value: float, args: Any, state: Any) -> None:
        if not math.isfinite(value):
            raise DistillError(
                f"the {what} is {value} at step {state.global_step}; write a smaller student.learning_rate than "
                f"{args.learning_rate:g}, or dtype: float32"
            )

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        """What was measured on held-out problems; raises DistillError for a loss that is not finite."""
        self._must_be_finite("held-out loss", metrics["eval_loss"], args, state)
        if state.is_world_process_zero:
            named = {name.replace("eval_", "held_out_"): value for name, value in metrics.items()}
            self.meter.write_held_out(state.global_step, named)
            self.display.held_out(state.global_step, named)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The picture of the losses so far."""
        if state.is_world_process_zero:
            self.meter.draw()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The picture of all losses."""
        self.on_save(args, state, control)


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
