"""A training as a person sees it: takes every step's metrics, shows a bar at a terminal and lines elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

EVERY_S = 5.0


class Display:
    """Shows how far a training is, while the block lasts: in place at a terminal, elsewhere by a line now and then.

    The first and the last step always get their line. The terminal is left as it was, however the block ends.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self._bar: Progress | None = None
        self._untold = self._held_out = ""
        self._told_at: float | None = None

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._untold:
            self.say(self._untold)

    def begin(self, step: int, steps: int) -> None:
        """Shows the bar, where there is a terminal: the first step may take its time."""
        if not sys.stdout.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        figures = TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True), markup=False)
        columns = (
            TextColumn("", table_column=Column(width=1)),
            BarColumn(8, table_column=Column(no_wrap=True, min_width=8)),
            figures,
        )
        self._bar = Progress(*columns, console=Console(file=sys.stdout), transient=True)
        self._bar.add_task("", total=steps, completed=step, figures=f"{step}/{steps}")
        self._bar.start()

    def step(self, line: Mapping[str, Any], steps: int, left_s: float) -> None:
        """Takes a step's line of metrics.jsonl, the number of all steps, and the seconds that are probably left."""
        where, loss = f"{line['step']}/{steps}", f"loss {line['loss']:.4f}{self._held_out}"
        left, gib = f"{_duration(left_s)} left", line["peak_memory_gib"]
        self._untold = f"step {where}  {loss}  {left}  {line['tokens_per_s']:,.0f} tokens/s  {gib:.2f} GiB"
        if self._bar is not None:  # short, so that 80 columns hold it
            figures = f"{where} {loss} {left} {line['tokens_per_s']:,.0f} tok/s {gib:.1f} GiB"
            self._bar.update(self._bar.task_ids[0], completed=line["step"], figures=figures)
            return
        now = time.monotonic()
        if self._told_at is None or now - self._told_at >= EVERY_S or line["step"] >= steps:
            self.say(self._untold)
            self._untold, self._told_at = "", now

    def held_out(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes what was measured on held-out problems after a step: a line of its own, above any bar."""
        if "held_out_loss" in figures:
            self._held_out = f", held out {figures['held_out_loss']:.4f}"
        told = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        self.say(f"after step {step}: {told}")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
