"""The picture of a training: takes the lines of metrics.jsonl, leaves loss.svg beside them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.charts import Series, line_chart
from distill.run import write_text


def draw(lines: Iterable[Mapping[str, Any]], target: Path) -> None:
    """Writes the loss of every step, and the held-out loss where it was measured, as an SVG."""
    loss: list[tuple[float, float]] = []
    held_out: list[tuple[float, float]] = []
    for line in lines:
        for name, points in (("loss", loss), ("held_out_loss", held_out)):
            if name in line:
                points.append((line["step"], line[name]))
    series = [Series("training loss, smoothed over its steps", loss, noisy=True)]
    if held_out:
        series.append(Series("held-out loss", held_out))
    write_text(target, line_chart(series, "Loss", "step", "nats per token"))
