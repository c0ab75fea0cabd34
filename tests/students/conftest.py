"""One thread for tiny models, since more wait for each other wherever the machine is shared; a tiny base; processes."""

import importlib.util
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

_spec = importlib.util.spec_from_file_location("students_tiny", Path(__file__).with_name("tiny.py"))
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model with its tokenizer."""
    made: str = tiny.base(tmp_path_factory.mktemp("base"))
    return made


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    """Forks of a process that has imported everything once: real processes, which may be killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["students.fit", "peft", "bitsandbytes", "transformers.models.qwen2.modeling_qwen2"])
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield context
    os.environ.pop("OMP_NUM_THREADS")
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = before
