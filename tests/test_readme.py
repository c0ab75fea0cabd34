"""The README stays short and names only what is there."""

import re
from pathlib import Path

from distill import recipe

ROOT = Path(__file__).resolve().parents[1]


def test_the_documents_keep_their_length() -> None:
    for name, most in (("README.md", 150), ("CONTRIBUTING.md", 70)):
        assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= most


def test_every_recipe_and_module_that_the_readme_names_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"distill run ([\w.-]+)", text))
    assert named and named <= {*recipe.shipped(), "RECIPE"}
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## What is where")[1].split("```")[1]
    for line in tree.splitlines():
        for word in re.split(r"\s{3,}", line.strip())[0].split() if line.startswith("  ") else ():
            path = ROOT / "distill" / word
            assert path.is_dir() or path.with_suffix(".py").is_file() or word == "quickstart/", word
