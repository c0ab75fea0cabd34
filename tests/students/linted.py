"""Bases without weights, and what lint finds in them, for the tests of lint."""

import importlib.util
from dataclasses import fields
from pathlib import Path
from typing import Any

from transformers import Qwen2Config

from distill.records import Kept, Trace
from distill.student_sections import Student
from students.findings import Finding
from students.lint import lint

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

PLAIN = tiny.TEMPLATE.replace("<|im_end|>", "<|end|>").replace("assistant\n", "assistant\n<think>\n")
"""Ends a turn with the tokenizer's EOS, and opens the thinking."""


def folder(path: Path, tokenizer: Any, *, vocab: int = 0, **config: Any) -> str:
    """A base without weights: lint needs none."""
    settings = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings |= {"num_key_value_heads": 2, "max_position_embeddings": 2048, "vocab_size": vocab or len(tokenizer) + 8}
    made = Qwen2Config(**{**settings, "eos_token_id": tokenizer.eos_token_id, "dtype": "float32", **config})
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def tokenizer(template: str = PLAIN, pad: str | None = None) -> Any:
    made = tiny.tokenizer()
    made.chat_template, made.pad_token = template, pad
    return made


def found(section: Student, traces: Any = None) -> dict[str, Finding]:
    made = lint(section, tiny.traces(8) if traces is None else traces, lambda line: None)
    assert len({one.code for one in made.found}) == len(made.found)
    return {one.code: one for one in made.found}


def levels(findings: dict[str, Finding], level: str) -> set[str]:
    return {code for code, one in findings.items() if one.level == level}


def kept(trace: Trace, tokens: int) -> Kept:
    return Kept(**{field.name: getattr(trace, field.name) for field in fields(trace)}, tokens=tokens, rulings=())


def student(base: str, **changes: Any) -> Student:
    return Student(**{"base": base, "dtype": "float32", **changes})
