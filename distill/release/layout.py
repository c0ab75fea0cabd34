"""What a release looks like on the Hub: a release folder and its story in, the repositories and their files out.

A model's repository holds the weights, the card, the lineage without the data (problems and traces have licences of
their own), `hashes.json` (the sha256 of every other file) and `distill.json`, the marker: what made it, under which
tag, and which files are ours to delete when the next release comes. Nothing in it depends on when it is pushed, so
that the same release is the same files.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from distill import __version__
from distill.errors import DistillError, InputError
from distill.gate_sections import ReleaseSection
from distill.recipe import Recipe
from distill.release.card import model_card, records_card, traces_card
from distill.release.results import Board, eval_results_files
from distill.release.story import Story
from distill.run import STAGES, fingerprint, hash_file

MARKER, HASHES, CARD = "distill.json", "hashes.json", "README.md"
EVIDENCE, LINEAGE = "evals", "lineage"
"""Folders of a release folder beside the variants'."""

LARGEST_FILE_BYTES = 50 * 10**9
MOST_FILES = 25_000
LARGEST_TEXTS_BYTES = 10**9
"""One file at most (Hub documentation, storage limits), and what one commit takes (`HfApi.create_commit`): so many
files, and so much in files that the Hub keeps in git itself, which are those under 10 MB."""
_TEXT_BYTES = 10 * 10**6

Kind = Literal["model", "dataset"]


@dataclass(frozen=True)
class Place:
    """A repository: ORG/NAME and what it is."""

    repo: str
    kind: Kind

    def __str__(self) -> str:
        return self.repo if self.kind == "model" else f"the data set {self.repo}"


@dataclass(frozen=True)
class File:
    """A file to push: where it lies, or its bytes; `sha256` is what it must be."""

    source: Path | bytes
    sha256: str

    @classmethod
    def of(cls, content: str) -> "File":
        """A text that is written here."""
        data = content.encode()
        return cls(data, hashlib.sha256(data).hexdigest())

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def blob(self) -> str:
        """Its name in git (the sha1 of a blob), by which the Hub tells the files that it keeps there."""
        data = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Parcel:
    """All files of one repository, by their paths there."""

    place: Place
    files: Mapping[str, File]


CLOSED_TASKS = frozenset({"distill_gpqa_diamond"})
"""Their makers ask that nobody put the questions online in plain text (GPQA's data card); samples hold them."""


def kept_private(recipe: Recipe, place: Place) -> bool:
    """Whether a repository is for its owners' eyes: all are, unless the recipe says otherwise, and the evaluation
    records always where they hold the questions of a closed task."""
    return recipe.release.private or holds_questions(recipe, place)


def holds_questions(recipe: Recipe, place: Place) -> bool:
    """Whether a repository is the evaluation records, and they hold the questions of a closed task."""
    closed = any(task.task in CLOSED_TASKS for task in recipe.gate.tasks)
    return closed and place == places(recipe.release)[0]


def places(section: ReleaseSection) -> list[Place]:
    """The repositories in the order in which they move: what a card refers to first, the main model last."""
    repo = str(section.repo)
    found = [Place(f"{repo}-evals", "dataset")]
    if section.traces:
        found.append(Place(f"{repo}-traces", "dataset"))
    if section.repos == "each":
        found += [Place(f"{repo}-{variant}", "model") for variant in section.variants[1:]]
    return [*found, Place(repo, "model")]


def parcels(story: Story, held: Mapping[str, File], tag: str, boards: Sequence[Board]) -> list[Parcel]:
    """Every repository's files for a release under `tag`, in the order of `places`.

    `held` is what `checked` gives. Raises DistillError where a variant is not in it, InputError for what is too large
    for the Hub.
    """
    section = story.recipe.release
    bodies: list[dict[str, File]] = [_records(story, held, tag)]
    if section.traces:
        bodies.append(_traces(story, held, tag))
    if section.repos == "each":
        for variant in section.variants[1:]:
            bodies.append(_model(story, held, tag, (variant,)))
    main = section.variants if section.repos == "one" else section.variants[:1]
    source = f"https://huggingface.co/datasets/{section.repo}-evals/tree/{tag}"
    boarded = eval_results_files(story, boards, source)
    bodies.append(_model(story, held, tag, main) | {path: File.of(text) for path, text in boarded.items()})
    made = [Parcel(place, _hashed(body)) for place, body in zip(places(section), bodies, strict=True)]
    for parcel in made:
        _fits(parcel)
    return made


def content(made: Sequence[Parcel]) -> str:
    """A short hash of what is released, whatever its tag, if it was made under one that is always the same."""
    return fingerprint([[str(p.place), sorted((path, file.sha256) for path, file in p.files.items())] for p in made])


def marked(parcel: Parcel, story: Story, tag: str, what: str) -> Parcel:
    """The parcel with its marker; `what` is the release's `content`."""
    marker = {
        "made_by": "distill",
        "version": __version__,
        "release": tag,
        "run": story.name,
        "fingerprint": story.manifests["gate"]["fingerprint"],
        "content": what,
        "files": sorted([*parcel.files, MARKER]),
    }
    text = json.dumps(marker, indent=2, ensure_ascii=False) + "\n"
    return Parcel(parcel.place, {**parcel.files, MARKER: File.of(text)})


def checked(folder: Path) -> dict[str, File]:
    """A release folder's files by their paths, read once and compared with the hashes that `publish` wrote; raises
    DistillError where one is missing, or is not what was released."""
    try:
        listed = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DistillError(
            f"{folder} is no release folder ({HASHES} cannot be read); make the release again"
        ) from error
    if not isinstance(listed, dict) or any(Path(path).is_absolute() or ".." in Path(path).parts for path in listed):
        raise DistillError(f"{folder / HASHES} is not what a release wrote; make the release again")
    for path, digest in listed.items():
        if not (folder / path).is_file() or hash_file(folder / path) != digest:
            raise DistillError(f"{folder / path} is not what was released; make the release again")
    return {path: File(folder / path, digest) for path, digest in listed.items()}


def _under(held: Mapping[str, File], top: str) -> dict[str, File]:
    return {path.removeprefix(f"{top}/"): file for path, file in held.items() if path.startswith(f"{top}/")}


def _model(story: Story, held: Mapping[str, File], tag: str, variants: Sequence[str]) -> dict[str, File]:
    """The first variant at the root, the others in folders, and all that belongs beside weights."""
    main, section = variants[0], story.recipe.release
    files = _under(held, main)
    missing = [variant for variant in variants if f"{variant}/config.json" not in held]
    if missing:
        raise DistillError(f"the release folder has no {missing[0]}; make the release again")
    for variant in variants[1:]:
        files |= {f"{variant}/{path}": file for path, file in _under(held, variant).items()}
    files |= {path: file for path, file in held.items() if "/" not in path and path != CARD}
    files |= {
        f"{LINEAGE}/{path}": file for path, file in _under(held, LINEAGE).items() if not path.endswith(".parquet")
    }
    repo = str(section.repo) if main == section.variants[0] else f"{section.repo}-{main}"
    named = None if section.repos == "one" else main
    text = model_card(story, repo=repo, variant=named, tag=tag, records=f"{section.repo}-evals")
    return files | {CARD: File.of(text)}


def _records(story: Story, held: Mapping[str, File], tag: str) -> dict[str, File]:
    """lm-eval's own results and samples, as the gate read them."""
    text = records_card(story, f"{story.recipe.release.repo}-evals", tag)
    return _under(held, EVIDENCE) | {CARD: File.of(text)}


def _traces(story: Story, held: Mapping[str, File], tag: str) -> dict[str, File]:
    """The kept traces, named as `load_dataset` finds them."""
    kept = sorted(_under(held, f"{LINEAGE}/{STAGES['curate']}").items())
    parts = [file for path, file in kept if path.endswith(".parquet")]
    if not parts:
        raise DistillError("there are no kept traces to push as a data set; write release.traces: false")
    named = {f"data/train-{i:05d}-of-{len(parts):05d}.parquet": file for i, file in enumerate(parts)}
    return named | {CARD: File.of(traces_card(story, f"{story.recipe.release.repo}-traces", tag))}


def _hashed(files: Mapping[str, File]) -> dict[str, File]:
    """The files with the list of their hashes, so that anyone can check what came."""
    digests = {path: file.sha256 for path, file in sorted(files.items())}
    return {**files, HASHES: File.of(json.dumps(digests, indent=2, ensure_ascii=False) + "\n")}


def _fits(parcel: Parcel) -> None:
    sizes = {path: file.size for path, file in parcel.files.items()}
    large = [path for path, size in sizes.items() if size > LARGEST_FILE_BYTES]
    if large:
        raise InputError(f"{large[0]} has {sizes[large[0]] / 1e9:.0f} GB, and the Hub takes 50; save it in shards")
    texts = sum(size for size in sizes.values() if size <= _TEXT_BYTES)
    if len(sizes) > MOST_FILES or texts > LARGEST_TEXTS_BYTES:
        raise InputError(
            f"{parcel.place} would be {len(sizes):,} files with {texts / 1e9:.1f} GB of small ones, and one commit "
            f"takes {MOST_FILES:,} and 1 GB; take tasks or variants out of the recipe"
        )


def would_mix(parcel: Parcel, others: Sequence[str]) -> list[str]:
    """Which of somebody else's files, in a repository that is taken over, would be read together with ours.

    In a model's, those that a loader looks for beside our weights (an index of shards, an adapter, a vocabulary), and
    what leaderboards read; in a data set's, those in the folders of our rows, which are read by patterns.
    """
    beside = {str(PurePosixPath(path).parent) for path in parcel.files}
    if parcel.place.kind == "dataset":
        return sorted(path for path in others if str(PurePosixPath(path).parent) in beside - {"."})
    models = {str(PurePosixPath(path).parent) for path in parcel.files if PurePosixPath(path).name == "config.json"}
    return sorted(path for path in others if _is_loaded(PurePosixPath(path), models))


def _is_loaded(path: PurePosixPath, models: set[str]) -> bool:
    if path.parts[0] == ".eval_results":
        return True
    folder = path.parent.parent if path.parent.name == "additional_chat_templates" else path.parent
    suffixes = (".safetensors", ".bin", ".json", ".jinja", ".model", ".py", ".pt", ".pth")
    return str(folder) in models and (path.suffix in suffixes or path.name in ("merges.txt", "vocab.txt"))
