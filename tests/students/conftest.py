"""One thread for tiny models, since more wait for each other wherever the machine is shared; and a tiny base."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

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
