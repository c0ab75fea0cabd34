"""The Hub server, and huggingface_hub set to talk to it: without Xet, which it does not speak, and without waiting."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars, logging

from tests.release import made
from tests.release.hub_server import HubServer


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub on loopback. Pauses between tries are left out, and cards are short."""
    made.alone(monkeypatch, tmp_path)
    made.plain_cards(monkeypatch.setattr)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    disable_progress_bars()
    with HubServer() as server:
        yield server
    enable_progress_bars()
    logging.set_verbosity(verbosity)
