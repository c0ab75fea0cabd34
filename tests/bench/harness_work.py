"""What both sides of bench_harness.py evaluate: sums, how long each answer gets, and the bundled student."""

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "distill" / "quickstart" / "base"
MEDIAN, P95, LONGEST = 1125, 2893, 8662
"""Tokens of R1's answers to GSM8K (data folder, r1_mip_gsm8k_math: 582 answers by the Qwen2 tokenizer)."""
ROOM = 960
"""Tokens: what the longest of them becomes, so that it fits into the student's context of 1,024."""
SAMPLING = {"temperature": 0.6, "top_p": 0.95}
_NUMBER = re.compile(r"Work (\d+):")


def rows(count: int) -> list[dict[str, str]]:
    """So many problems, as GSM8K's columns have them."""
    return [
        {"question": f"Work {at}: {at % 89} + {at % 71} =", "answer": f"#### {at % 89 + at % 71}"}
        for at in range(count)
    ]


def lengths(count: int, seed: int) -> list[int]:
    """How many tokens each problem's answer has: lognormal, as skewed as R1's, in tenths of their length."""
    drawn = random.Random(seed)
    spread = math.log(P95 / MEDIAN) / 1.6449
    tall = (min(drawn.lognormvariate(math.log(MEDIAN), spread), LONGEST) for _ in range(count))
    return [max(2, round(one * ROOM / LONGEST)) for one in tall]


def number(prompt: str) -> int:
    """Which problem a prompt asks."""
    found = _NUMBER.search(prompt)
    assert found is not None, prompt
    return int(found[1])


def model() -> tuple[Any, Any]:
    """The student in float32 and its tokenizer; it never ends an answer by itself, so that its length is the work's."""
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    student = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    bias = torch.zeros(student.config.vocab_size)
    bias[[tokenizer.eos_token_id, tokenizer.pad_token_id]] = -1e4
    student.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return student, tokenizer


def told(seconds: float, cpu_s: float, samples: int, tokens: int, passes: int) -> None:
    """Prints what one side took."""
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "samples": samples, "tokens": tokens, "passes": passes}))
