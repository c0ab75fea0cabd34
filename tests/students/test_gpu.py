"""What only a GPU can show: the flash kernels see one document at a time, and QLoRA with a paged optimizer learns."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from distill.student_sections import Student
from students import attention
from students.batches import collate
from students.documents import Document
from students.render import render

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_documents_get_the_hidden_states_that_they_get_alone(dtype: torch.dtype) -> None:
    packed, alone = (tiny.model().eval().to("cuda", dtype) for _ in range(2))
    assert attention.use(packed)
    rendered = [render(tiny.tokenizer(), one) for one in tiny.traces(6)]
    rows = [Document(torch.tensor(one.ids, dtype=torch.int32), one.prompt_tokens) for one in rendered]
    batch: dict[str, Any] = collate(True, [rows])
    batch = {name: value.cuda() if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    together = tiny.hidden_states(packed, batch).split([one.tokens for one in rows], 1)
    for document, hidden in zip(rows, together, strict=True):
        lonely = tiny.hidden_states(alone, {"input_ids": document.ids_T.long()[None].cuda()})
        torch.testing.assert_close(hidden, lonely, atol=1e-5 if dtype == torch.float32 else 3e-2, rtol=0)


@pytest.mark.parametrize("optimizer", ["adamw_torch_fused", "adamw_bnb_8bit", "paged_adamw_8bit"])
@pytest.mark.parametrize("quantization", ["none", "int8", "nf4"])
def test_an_adapter_learns(tmp_path: Path, quantization: str, optimizer: str) -> None:
    section = Student(
        base=tiny.base(tmp_path / "base"),
        quantization=quantization,
        lora={"rank": 8},
        optimizer=optimizer,
        learning_rate=1e-2,
        batch_tokens=1024,
        max_steps=14,
        gradient_checkpointing=True,
    )
    tiny.train(section, tiny.traces(24), tmp_path / "run", print)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3
    assert 0 < lines[-1]["peak_memory_gib"] < 4
