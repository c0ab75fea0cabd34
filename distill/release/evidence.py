"""Whether a folder of weights is what the gate measured, and holds nothing that must not be passed on: the folder and
the gate's records in, nothing or an error out.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from distill.errors import DistillError
from distill.run import fingerprint

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Weights that can run code when they are loaded (Python documentation, pickle)."""
OURS = ("distill.json", "hashes.json")
"""What a release writes itself."""


def refuse_odd(folder: Path, trust_remote_code: bool) -> None:
    """Raises DistillError for a file that no release passes on: a link, a hidden file (git's and the Hub's own
    settings are such), a pickle, code that the recipe does not trust, and what a release writes itself."""
    for path in sorted(folder.rglob("*")):
        if reason := _odd(path, trust_remote_code):
            raise DistillError(f"{path} {reason}; take it out, delete the gate's manifest.json, and run this again")


def _odd(path: Path, trust_remote_code: bool) -> str:
    if path.is_symlink():
        return "is a link, and a release holds the files themselves"
    if path.name.startswith("."):
        return "is hidden, and might set up the repository"
    if path.suffix in PICKLES:
        return "is a pickle, which can run code when it is loaded"
    if path.suffix == ".py" and not trust_remote_code:
        return "is code, which student.trust_remote_code does not allow"
    return "has a name that a release writes itself" if path.name in OURS else ""


def refuse_changed(folder: Path, files: Mapping[str, str], records: Path) -> None:
    """Raises DistillError where lm-eval's results in `records` were measured on other weights than `files` (the
    folder's hashes): each states the content of its model, for a served one with what it was asked of behind it."""
    content = fingerprint(list(files.items()))
    for path in sorted(records.rglob("results_*.json")):
        measured = _content(path)
        if measured and measured != content and not measured.startswith(f"{content}-"):
            raise DistillError(
                f"{folder} is not what the gate measured ({path.name}); delete it, and run the gate again"
            )


def _content(path: Path) -> str:
    """The content of the model that a results file is about, as `distill.run.hash_path` tells it."""
    try:
        match json.loads(path.read_text(encoding="utf-8")):
            case {"distill": {"model_content": str(content)}}:
                return content
    except (ValueError, RecursionError) as error:
        raise DistillError(f"{path} is not JSON; delete it and the gate's manifest.json, and run this again") from error
    return ""
