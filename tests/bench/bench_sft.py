"""How fast a student is trained, and in how much memory, beside trl's SFTTrainer on the same work in the same run.

Usage: python tests/bench/bench_sft.py [--peer-python PATH] [--size half|step|small|gpu]
           [--dtype bfloat16|float32|nf4] [--modes free,pad,pack] [--epochs N] [--chip-tflops N] [--shares]

A Qwen2.5-0.5B-shaped model of 12 layers and 16 random documents of 96 to 1,024 tokens, four to a step, AdamW. Each
trainer runs in a process of its own; tokens per second are of the last epoch, memory is the process's peak. Losses are
compared step by step, in that type on this size (`loss_gap`) and in float32 on a small shape (`loss_gap_float32`).
`--size step` is one step of four such documents: without bfloat16 instructions the peer takes ten minutes for it. Then
4 MB of reasoning are rendered and tokenized by both (`prepare_*`). `--size gpu` is for a machine with one: 24 layers,
and documents of up to 4,096 tokens; with the chip's peak given, `chip_share` is the share of it that is used.
`--shares` trains with our trainer alone, each time without one of the things that make it fast (`our_sft.py` says
which), and its JSON has the tokens per second of each.
Keys: tokens_per_s, peak_gib, peer_tokens_per_s, peer_peak_gib, ratio, memory_ratio, loss_gap, loss_gap_float32,
prepare_tokens_per_s, tokenizer_tokens_per_s, peer_prepare_tokens_per_s, prepare_ratio, chip_share.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sft_work import SIZES

HERE = Path(__file__).parent
MODES = ("free", "pad", "pack")
LAYOUTS = ("packed", "chunked", "padded", "plain")


def ran(python: str, script: str, *arguments: str) -> dict[str, Any] | None:
    """What a trainer printed last; None where its interpreter lacks what it needs."""
    environment = os.environ | {
        "PYTHONPATH": str(HERE.parents[1]),
        "HF_HUB_OFFLINE": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
    }
    done = subprocess.run(
        [python, HERE / script, *arguments], capture_output=True, text=True, env=environment, cwd=HERE
    )
    if done.returncode and "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(name: str, found: dict[str, Any] | None) -> None:
    if found is None:
        print(f"{name:28} not installed")
    else:
        print(
            f"{name:28} {found['tokens_per_s']:10.1f} {found['peak_gib']:10.2f}   {found['losses'][-1]:.4f}", flush=True
        )


def gap(ours: dict[str, Any], peer: dict[str, Any] | None) -> float | None:
    """The largest difference of a step's loss."""
    if peer is None:
        return None
    return max(abs(a - b) for a, b in zip(ours["losses"], peer["losses"], strict=True))


def chip_share(size_name: str, ours: dict[str, Any], chip_tflops: float) -> float:
    """Operations a second, six for each weight and token, as a share of the chip's."""
    size = SIZES[size_name]
    attention = 2 * size.width * (size.width // size.heads) * (size.heads + 2)
    weights = size.layers * (attention + 3 * size.width * size.inner) + size.vocabulary * size.width
    return float(6 * weights * ours["tokens_per_s"] / (chip_tflops * 1e12))


def shares(*work: str) -> None:
    """How fast our trainer is as it is, and without each of the things that make it so."""
    speeds: dict[str, float] = {}
    for layout in LAYOUTS:
        found = ran(sys.executable, "our_sft.py", layout, *work)
        assert found is not None
        row(layout, found)
        speeds[layout] = round(found["tokens_per_s"], 1)
    print(json.dumps(speeds))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--size", default="half", choices=("half", "step", "small", "gpu"))
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32", "nf4"))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--epochs", default="2")
    parser.add_argument("--chip-tflops", type=float, default=None)
    parser.add_argument("--shares", action="store_true")
    asked = parser.parse_args()
    work = (asked.size, asked.dtype, asked.epochs)
    print(f"{asked.size}, {asked.dtype:20} {'tokens/s':>12} {'peak GiB':>10}   last loss")
    if asked.shares:
        shares(*work)
        return
    ours = ran(sys.executable, "our_sft.py", "packed", *work)
    assert ours is not None
    row("ours", ours)
    peers: dict[str, dict[str, Any]] = {}
    for mode in asked.modes.split(","):
        found = ran(asked.peer_python, "peer_sft.py", mode, *work)
        row(f"trl, {mode}", found)
        if found is None:
            break
        peers[mode] = found
    small = ("small", "float32", "2")
    exact = gap(
        ran(sys.executable, "our_sft.py", "packed", *small) or {}, ran(asked.peer_python, "peer_sft.py", "pad", *small)
    )
    best = max((found["tokens_per_s"] for found in peers.values()), default=None)
    least = min((found["peak_gib"] for found in peers.values()), default=None)
    same = next((found for mode, found in peers.items() if mode != "pack"), None)  # packing mixes the steps otherwise
    prepared = ran(sys.executable, "our_prepare.py")
    peer_prepared = ran(asked.peer_python, "peer_prepare.py")
    assert prepared is not None
    print(
        f"preparing: ours {prepared['tokens_per_s']:,.0f} tokens/s, the tokenizer alone "
        f"{prepared['tokenizer_tokens_per_s']:,.0f}, trl "
        + ("not installed" if peer_prepared is None else f"{peer_prepared['tokens_per_s']:,.0f}")
    )
    theirs = None if peer_prepared is None else peer_prepared["tokens_per_s"]
    figures = {
        "tokens_per_s": ours["tokens_per_s"],
        "peak_gib": ours["peak_gib"],
        "peer_tokens_per_s": best,
        "peer_peak_gib": least,
        "ratio": None if best is None else ours["tokens_per_s"] / best,
        "memory_ratio": None if least is None else ours["peak_gib"] / least,
        "loss_gap": gap(ours, same),
        "loss_gap_float32": exact,
        "prepare_tokens_per_s": prepared["tokens_per_s"],
        "tokenizer_tokens_per_s": prepared["tokenizer_tokens_per_s"],
        "peer_prepare_tokens_per_s": theirs,
        "chip_share": None if asked.chip_tflops is None else chip_share(asked.size, ours, asked.chip_tflops),
        "prepare_ratio": None if theirs is None else prepared["tokens_per_s"] / theirs,
    }
    print(json.dumps({name: value if value is None else round(value, 6) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
