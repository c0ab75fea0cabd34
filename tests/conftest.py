"""What several tests share: the data folder beside the checkout, and small recipes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def shared_data() -> Path:
    """The folder of real traces and benchmarks that may lie beside the checkout."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real traces, shared/data beside the checkout, is not here")
    return folder


@pytest.fixture
def small_quickstart(tmp_path: Path) -> Path:
    """The quickstart at a size that a test can carry."""
    recipe: dict[str, Any] = yaml.safe_load((ROOT / "distill" / "recipes" / "quickstart.yaml").read_text())
    recipe["name"] = "small"
    for source, size in zip(recipe["problems"], (50, 300), strict=True):
        source["size"] = size
    recipe["student"]["objective"]["epochs"] = 4
    recipe["student"]["batch_tokens"] = 2048
    recipe["gate"] |= {"baselines": ["base"], "max_unfinished": 0.5, "max_length_ratio": {}, "max_variant_drop": 0.5}
    for task in recipe["gate"]["tasks"]:
        task |= {"size": 40, "repeats": 1, "min": 0.0, "max_drop": 0.5}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path
