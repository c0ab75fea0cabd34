"""What a release is made of, and under which licences that is: a recipe in, its teacher, base, data and judge out, each
with its terms and how they are known.

Three ways to know, in this order: distill's own tables (`terms`), what lies with a model or data set on this machine (a
card's front matter, a LICENSE file), and what the recipe states. No network.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import yaml

from distill.errors import InputError
from distill.recipe import BUNDLED, Recipe, model_path
from distill.records import printable
from distill.release.terms import Terms, of_dataset, of_host, of_model, terms
from distill.sections import ReasoningGymProblems
from distill.tables import ENDINGS
from distill.teacher_sections import EndpointTeacher, LocalTeacher, ReplayTeacher

Role = Literal["teacher", "base", "data", "judge"]
MAX_BYTES = 200_000
"""More than any licence or front matter has; a longer file is not read."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PATH = re.compile(r"^[./~]|/.*/|\.(json|jsonl|csv|parquet)$")
_FRONT_MATTER = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HEADS = (
    (r"llama (\d(?:\.\d)?) community license agreement", "llama{}"),
    (r"qwen research license agreement", "qwen-research"),
    (r"qwen license agreement", "qwen"),
    (r"gemma terms of use", "gemma"),
    (r"apache license\s+version 2\.0", "apache-2.0"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "mit"),
)
"""How licence files begin."""
_SAYS_NOTHING = ("other", "unknown", "none", "null", "todo", "tbd", "n/a")


@dataclass(frozen=True)
class Part:
    """One thing that the release is made of. `terms` is empty where its licence is not known; `why` says how it is."""

    role: Role
    name: str
    terms: tuple[Terms, ...]
    why: str


def of_recipe(recipe: Recipe, served: Sequence[str] = ()) -> tuple[Part, ...]:
    """Every part; `served` are the names under which the teacher's answers came. Raises InputError where the recipe
    states a licence that says nothing, or other than what is known."""
    return tuple(_stated(recipe, list(_found(recipe, served))))


def hub_id(name: str, *, dataset: bool = False) -> str | None:
    """A model's or data set's Hub id; None for what lies on this machine, or comes with the package."""
    local = Path(name).expanduser()
    if not HUB_ID.fullmatch(name) or local.exists() or (dataset and local.suffix in ENDINGS):
        return None
    return name


def place(name: str) -> str:
    """A model or data set as a release tells of it: a Hub id or a bundled model as it is, and of a path on this machine
    its last part alone."""
    if hub_id(name, dataset=True) or name.startswith(BUNDLED) or not _PATH.search(name):
        return name
    return name.rstrip("/").rpartition("/")[2] + " (a local copy)"


def beside(model: str, *files: str) -> str | None:
    """The first of these files that lies with a model, in its folder or in the Hub's cache, as text."""
    folder = Path(model_path(model))
    for name in files:
        path = _cached(model, name, "model") if hub_id(model) else folder / name
        if path is not None and path.is_file() and path.stat().st_size <= MAX_BYTES:
            return path.read_text(encoding="utf-8", errors="replace")
    return None


def _found(recipe: Recipe, served: Sequence[str]) -> Iterator[Part]:
    teacher, objective = recipe.teacher, recipe.student.objective
    if isinstance(teacher, EndpointTeacher | LocalTeacher):
        yield from _asked("teacher", teacher, served)
    elif isinstance(teacher, ReplayTeacher):
        yield _named("teacher", teacher.model, of_model(teacher.model))
        yield _data(teacher.path)
    if objective.kind == "kd" and objective.teacher is not None:
        yield from _asked("teacher", objective.teacher, ())
    yield _model("base", recipe.student.base)
    for source in dict.fromkeys(
        "" if isinstance(section, ReasoningGymProblems) else section.path for section in recipe.problems
    ):
        yield _data(source) if source else _named("data", "reasoning-gym (procedural)", _known("apache-2.0"))
    if recipe.curate.judge is not None:
        yield from _asked("judge", recipe.curate.judge.engine, ())


def _asked(role: Role, section: EndpointTeacher | LocalTeacher, served: Sequence[str]) -> Iterator[Part]:
    if isinstance(section, LocalTeacher):
        yield _model(role, section.model)
        return
    host = urlsplit(section.base_url).hostname or ""
    asked = of_host(host)
    if asked:
        yield Part(role, f"{section.model} at {host}", asked, f"{host}'s own terms hold")
        return
    others = [_named(role, name, of_model(name)) for name in served if of_model(name) and name != section.model]
    if of_model(section.model) or not others:
        yield _named(role, section.model, of_model(section.model))
    yield from others


def _named(role: Role, name: str, known: tuple[Terms, ...]) -> Part:
    return Part(role, name, known, "known to distill" if known else "not known")


def _model(role: Role, name: str) -> Part:
    if known := of_model(name):
        return _named(role, name, known)
    if name.startswith(BUNDLED):
        return _named(role, name, ())
    if found := _in_card(beside(name, "README.md")):
        return Part(role, name, found, "its model card says so")
    if found := _in_text(beside(name, "LICENSE", "LICENSE.txt", "LICENSE.md")):
        return Part(role, name, found, "its LICENSE file says so")
    return _named(role, name, ())


def _data(name: str) -> Part:
    known = of_dataset(name)
    if known or hub_id(name, dataset=True) is None:
        return _named("data", name, known)
    path = _cached(name, "README.md", "dataset")
    text = None
    if path is not None and path.stat().st_size <= MAX_BYTES:
        text = path.read_text(encoding="utf-8", errors="replace")
    found = _in_card(text)
    return Part("data", name, found, "its data set card says so" if found else "not known")


def _cached(repo: str, name: str, kind: str) -> Path | None:
    """A file of a Hub repository, as it was last downloaded here."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, name, repo_type=kind)
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


def _in_card(text: str | None) -> tuple[Terms, ...]:
    """What a card's front matter says, if its rules are known for every licence that it names."""
    matter = _FRONT_MATTER.match(text or "")
    try:
        data = yaml.safe_load(matter.group(1)) if matter else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return ()  # a card that cannot be read says nothing
    if not isinstance(data, dict):
        return ()
    named = data.get("license_name") if data.get("license") == "other" else data.get("license")
    names = [str(name) for name in named] if isinstance(named, list) else [str(named)]
    found = tuple(known for name in names if name != "own" and (known := terms(name)) is not None)
    return found if len(found) == len(names) else ()


def _in_text(text: str | None) -> tuple[Terms, ...]:
    """Which licence a LICENSE file is, by its head."""
    head = " ".join((text or "")[:2000].lower().replace("*", "").split())
    for pattern, name in _HEADS:
        if found := re.search(pattern, head):
            return _known(name.format(*found.groups()))
    return ()


def _known(name: str) -> tuple[Terms, ...]:
    found = terms(name)
    return () if found is None else (found,)


def _stated(recipe: Recipe, parts: list[Part]) -> Iterator[Part]:
    """The parts, with what the recipe states of those that are not known."""
    for role, stated in recipe.release.licences.items():
        of_role = [part for part in parts if part.role == role]
        if stated.strip().lower() in _SAYS_NOTHING or not re.search(r"\w\w", stated):
            raise InputError(f"release.licences.{role}: {stated!r} says nothing; write a licence, such as apache-2.0")
        if role == "base" and stated.strip().lower() == "own":
            raise InputError("release.licences.base: own does not say what others may do; write such as apache-2.0")
        ids = {known.id for part in of_role for known in part.terms}
        if of_role and all(part.terms for part in of_role) and _licence(stated).id not in ids:
            raise InputError(
                f"release.licences.{role} says {stated}, but {of_role[0].name} is under {', '.join(sorted(ids))} "
                f"({of_role[0].why}); take it out"
            )
    for part in parts:
        licence = recipe.release.licences.get(part.role) if part.role != "judge" else None
        if part.terms or licence is None:
            yield part
        else:
            yield Part(part.role, part.name, (_licence(licence),), "the recipe says so")


def _licence(stated: str) -> Terms:
    """A stated licence; one whose rules are not known here binds what learns from it, to be safe."""
    if (known := terms(stated)) is not None:
        return known
    name = " ".join(printable(stated).split())[:100]
    slug = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "custom"
    follow = f"Keep to {name}: its rules are not known to distill."
    return Terms(slug, name, "", outputs="binds", duties=(follow,), learnt=(follow,), hub=False)
