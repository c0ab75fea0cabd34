"""The release before: a folder or a Hub repository by name in, the folder of its weights out."""

import re
from pathlib import Path

from distill.errors import InputError

READ = ["*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model"]
"""What a model is loaded from. Never pickles (`*.bin`, `*.pt`), which can run code, and never Python."""

_HUB = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")


def previous(where: str, cache: Path) -> Path:
    """The folder of a release's main variant: of a release folder its bf16 or its only variant, of a Hub repository
    (ORG/NAME or ORG/NAME@revision) its root, downloaded into `cache`.

    Raises InputError where there is no release, and for a repository that cannot be read.
    """
    folder = Path(where).expanduser()
    if folder.is_dir():
        return _variant(folder)
    hub = _HUB.fullmatch(where)
    if hub is None:
        raise InputError(f"gate.previous: there is no folder {where}; write a release's folder, or ORG/NAME@revision")
    return _downloaded(hub["repo"], hub["revision"], cache)


def _variant(folder: Path) -> Path:
    if _is_model(folder):
        return folder
    found = sorted(path.parent for path in folder.glob("*/config.json") if _is_model(path.parent))
    main = [path for path in found if path.name == "bf16"] or found
    if not found and (folder / "recipe.json").is_file():
        raise InputError(f"gate.previous: {folder} is a run; write its release, {folder}/6-release/NAME")
    if len(main) != 1:
        held = f"it holds {', '.join(path.name for path in found)}" if found else "it holds no model"
        raise InputError(f"gate.previous: {folder} is no release folder ({held}); write the folder of one variant")
    return main[0]


def _downloaded(repo: str, revision: str | None, cache: Path) -> Path:
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    named = f"{repo}@{revision}" if revision else repo
    try:
        path = snapshot_download(
            repo, revision=revision, cache_dir=cache, allow_patterns=READ, ignore_patterns=["*/*"], max_workers=4
        )
    except (httpx2.HTTPError, OSError, ValueError, LocalEntryNotFoundError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"gate.previous: {named} is no folder here, and cannot be read from the Hub ({said}); write a release's "
            "folder, or a repository and a revision that your token may see"
        ) from error
    if not _is_model(Path(path)):
        raise InputError(
            f"gate.previous: {named} has no model in safetensors at its root; write a repository that distill released"
        )
    return Path(path)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
