"""What a person sees of a training: lines where there is no terminal, a bar in place where there is one, a picture."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from students.display import Display
from students.plot import draw

ROOT = Path(__file__).resolve().parents[2]
AT_A_TERMINAL = """
import time
from students.display import Display
with Display(lambda line: print(line, flush=True)) as display:
    display.begin(0, 3)
    for step in (1, 2):
        line = {"step": step, "loss": 1 / step, "tokens_per_s": 10123.4, "peak_memory_gib": 12.345}
        display.step(line, 3, 60.0 * 30)
        display.held_out(step, {"held_out_loss": 0.5})
        time.sleep(0.3)
    raise KeyboardInterrupt
"""


def line(step: int) -> dict[str, Any]:
    return {"step": step, "loss": 1 / step, "tokens_per_s": 1234.5, "peak_memory_gib": 1.5}


def test_without_a_terminal_the_first_and_the_last_step_have_lines_and_few_between() -> None:
    said: list[str] = []
    with Display(said.append) as display:
        display.begin(0, 1000)
        for step in range(1, 1001):
            display.step(line(step), 1000, 1000.0 - step)
            if step == 500:
                display.held_out(500, {"held_out_loss": 0.25, "held_out_accuracy": 0.5})
    assert said[0] == "step 1/1000  loss 1.0000  17 min left  1,234 tokens/s  1.50 GiB"
    assert "after step 500: held out loss 0.2500  held out accuracy 0.5000" in said
    assert said[-1] == "step 1000/1000  loss 0.0010, held out 0.2500  0 s left  1,234 tokens/s  1.50 GiB"
    assert len(said) < 500


def test_an_end_before_the_last_step_says_how_far_it_came() -> None:
    said: list[str] = []
    with pytest.raises(ValueError, match="ended"), Display(said.append) as display:
        display.step(line(1), 9, 1.0)
        display.step(line(2), 9, 1.0)
        raise ValueError("ended")
    assert [one.split("  ")[0] for one in said] == ["step 1/9", "step 2/9"]


def test_at_a_terminal_a_bar_moves_in_place_and_ctrl_c_leaves_it_clean() -> None:
    mine, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80", "TERM": "xterm-256color"},
        stdout=its,
        stderr=subprocess.DEVNULL,
    )
    os.close(its)
    seen = b""
    while piece := _read(mine):
        seen += piece
    process.wait(timeout=240)
    shown = seen.decode()
    assert "━ 2/3 loss 0.5000, held out 0.5000 30 min left 10,123 tok/s 12.3 GiB" in re.sub(
        "\x1b\\[[0-9;]*m", "", shown
    )
    assert "\x1b[2K" in shown and "after step 1: held out loss 0.5000" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is hidden at the end"
    assert "step 2/3  loss 0.5000" in shown[shown.rindex("\x1b[2K") :]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that the other end is closed
        return b""


def test_the_picture_shows_both_losses(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [line(step) for step in range(1, 40)]
    draw(lines, tmp_path / "loss.svg")
    alone = (tmp_path / "loss.svg").read_text()
    draw([*lines, {"step": 20, "held_out_loss": 0.2, "held_out_accuracy": 0.1}], tmp_path / "loss.svg")
    both = (tmp_path / "loss.svg").read_text()
    assert "held-out loss" not in alone and "held-out loss" in both
    assert ElementTree.fromstring(both).tag.endswith("svg")
    assert not list(tmp_path.glob("*.partial"))
