"""Who is measured: a record that the pipeline fills in and the harness reads."""

from collections.abc import Callable
from dataclasses import dataclass

from distill.records import Engine


@dataclass(frozen=True)
class Subject:
    """A model under measurement. `name` is for people (bf16, base, teacher, previous); `content` says what it is: a
    hash of its weights, or what a server is asked for. `load` is called once, and only where something must be asked.
    """

    name: str
    content: str
    load: Callable[[], Engine]
