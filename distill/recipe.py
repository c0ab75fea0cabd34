"""The recipe: a YAML file in, a frozen and checked `Recipe` out. One section per stage, `kind` picks the variant.

Unknown keys are errors, impossible combinations fail here, before any work, and the class defaults are the vetted
setting. `distill show --explain` prints every field with its text.
"""

import os
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from distill.curate_sections import Curate
from distill.errors import InputError, RecipeError
from distill.gate_sections import Gate, ReleaseSection
from distill.sections import Problems, Section
from distill.student_sections import Student
from distill.teacher_sections import Teacher

BUNDLED = "bundled:"
HERE = Path(__file__).parent


class Recipe(Section):
    """From problems to a release."""

    name: str = Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")
    """The run folder's name."""
    problems: tuple[Problems, ...] = ()
    """Where problems come from; a duplicate prompt is one problem."""
    teacher: Teacher
    """Who solves them."""
    curate: Curate = Curate()
    """Which traces are kept."""
    student: Student
    """Who learns from them."""
    gate: Gate
    """What must be shown."""
    release: ReleaseSection = ReleaseSection()
    """What is released."""

    @model_validator(mode="after")
    def _sections_fit(self) -> Self:
        if self.teacher.kind == "replay" and self.problems:
            raise ValueError("a replay teacher brings its own problems; take out `problems`")
        if self.teacher.kind != "replay" and not self.problems:
            raise ValueError("there are no problems; add for example `problems: [{kind: dataset, path: train.jsonl}]`")
        if self.teacher.kind == "replay" and self.curate.verify and self.teacher.columns.answer is None:
            raise ValueError(
                "curate.verify needs the right answers; name their column in teacher.columns.answer or write "
                "curate: {verify: false}"
            )
        objective = self.student.objective
        if objective.kind == "kd" and objective.signals == "captured":
            if self.teacher.kind not in ("local", "endpoint") or self.teacher.capture_logprobs is None:
                raise ValueError(
                    "signals: captured reads what sampling kept; write teacher.capture_logprobs: 20 for a local or "
                    "endpoint teacher, or signals: score"
                )
        elif objective.kind == "kd" and objective.teacher is None and self.teacher.kind not in ("local", "endpoint"):
            raise ValueError(
                f"objective: kd needs a teacher that can score the traces, and a {self.teacher.kind} one cannot; write "
                "student.objective.teacher: {kind: local, model: ...}"
            )
        if "teacher" in self.gate.baselines and self.teacher.kind not in ("local", "endpoint"):
            raise ValueError("baselines: [teacher] needs a teacher that can be asked: kind local or endpoint")
        return self


def model_path(name: str) -> str:
    """`bundled:base` as the folder that the package carries; everything else as it is, `~` filled in."""
    if name.startswith(BUNDLED):
        return str(HERE / "quickstart" / name.removeprefix(BUNDLED))
    return str(Path(name).expanduser()) if name.startswith("~") else name


def names_no_model(name: str) -> bool:
    """Whether a model's name says a folder, rather than a Hub id, and there is no model in it (no config.json)."""
    path = Path(model_path(name))
    says_a_folder = name.startswith((BUNDLED, ".", "/", "~")) or name.count("/") > 1 or path.is_dir()
    return says_a_folder and not (path / "config.json").is_file()


def located(key: str, name: str) -> str:
    """A model's folder or Hub id; raises InputError, naming the recipe's key, for a folder that holds no model."""
    path = model_path(name)
    if names_no_model(name):
        raise InputError(f"{key}: there is no model folder {path} (one with a config.json); write a folder or a Hub id")
    return path


def api_key(variable: str | None, section: str = "teacher") -> str | None:
    """The key that an environment variable holds, None where none is named; raises InputError, naming the recipe's
    section, where it holds none."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(
            f"{section}.api_key_env: the environment variable {variable} is not set; "
            f"write `export {variable}=…`, or take the key out for a server without one"
        )
    return key


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in (HERE / "recipes").glob("*.yaml"))


def find(recipe: str) -> Path:
    """A path, or the name of a shipped recipe; raises RecipeError where there is neither."""
    given = Path(recipe)
    if given.is_file():
        return given
    if recipe in shipped():
        return HERE / "recipes" / f"{recipe}.yaml"
    raise RecipeError(f"no recipe {recipe!r}: it is no file, and the shipped ones are {', '.join(shipped())}")


def read(recipe: str, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """The YAML as plain data, with every `a.b=c` of `overrides` put in; raises RecipeError."""
    path = find(recipe)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds no sections; a recipe starts with `name: my-run`")
    for override in overrides:
        _override(data, override)
    return data


def load(recipe: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A checked recipe; raises RecipeError with one line per fault, each naming its key."""
    data = read(recipe, overrides)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        faults = "\n".join(f"  {_place(fault['loc'])}: {_sentence(fault)}" for fault in error.errors())
        raise RecipeError(f"{find(recipe)} cannot be used:\n{faults}") from error


def _place(location: tuple[int | str, ...]) -> str:
    kinds = {"dataset", "reasoning_gym", "endpoint", "local", "replay", "scripted"}
    return ".".join(str(part) for part in location if part not in kinds) or "recipe"


def _sentence(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such key; `distill show RECIPE --explain` lists those that are"
    if fault["type"] == "missing":
        return "this key is missing"
    return str(fault["msg"]).removeprefix("Value error, ") + (
        "" if fault["type"] == "value_error" else f" (it is {fault['input']!r})"
    )


def _override(data: dict[str, Any], override: str) -> None:
    """Puts `a.b.0.c=value` in; the value is read as YAML, and a section that is not there is made."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {override!r} is not KEY=VALUE, such as --set student.seed=1")
    at: Any = data
    *path, last = key.split(".")
    for step, part in enumerate(path):
        if isinstance(at, list):
            at = at[_index(at, part, key)]
        elif isinstance(at.get(part), (dict, list)):
            at = at[part]
        elif at.get(part) is None:
            at[part] = {}
            at = at[part]
        else:
            raise RecipeError(f"--set {key}: {'.'.join(path[: step + 1])} is {at[part]!r}, which has no keys")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {key}: {value!r} is not YAML") from error
    if isinstance(at, list):
        at[_index(at, last, key)] = parsed
    else:
        at[last] = parsed


def _index(items: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise RecipeError(f"--set {key}: {part!r} is no place in a list of {len(items)}, which is counted from 0")
    return int(part)
