"""The recipe: a YAML file in, a frozen and checked `Recipe` out. One section per stage, `kind` picks the variant.

Unknown keys are errors, impossible combinations fail here, before any work, and the class defaults are the vetted
setting. `distill show --explain` prints every field with its text.
"""

import os
import re
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import ValidationError, field_validator, model_validator

from distill import faults
from distill.curate_sections import Curate
from distill.errors import InputError, RecipeError
from distill.gate_sections import Gate, ReleaseSection, check_waivers
from distill.sections import Problems, Section
from distill.student_sections import Student
from distill.teacher_sections import Teacher

BUNDLED = "bundled:"
HERE = Path(__file__).parent


class Recipe(Section):
    """From problems to a release."""

    name: str
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

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        return run_name(value)

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

    @model_validator(mode="after")
    def _gate_fits(self) -> Self:
        variants = self.release.variants
        check_waivers(self.gate, variants)
        measured: set[str] = {*variants, *self.gate.baselines}
        if self.gate.max_variant_drop is not None and set(variants) != {"bf16"}:
            measured.add("bf16")  # what the others are held against
        for name in self.gate.served:
            if name not in measured:
                raise ValueError(
                    f"gate.served.{name}: {name} is not measured; take it out, or write it into gate.baselines or "
                    "release.variants"
                )
            if name == "teacher" and self.teacher.kind == "endpoint":
                raise ValueError("gate.served.teacher: the teacher is asked at teacher.base_url; take it out")
        return self


def run_name(name: str) -> str:
    """The name as it is; raises ValueError for one that cannot be a run's folder on every machine."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,99}", name):
        raise ValueError(
            f"{name!r} cannot be a run's name; write at most 100 letters from a to z, digits, dots, dashes and "
            "underscores, a letter or a digit first, such as my-run"
        )
    return name


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
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except RecipeError as error:
        raise RecipeError(f"{path}, {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds no sections; a recipe starts with `name: my-run`")
    for override in overrides:
        _override(data, override)
    return data


class _Loader(yaml.SafeLoader):
    """YAML takes the last of two equal keys without a word; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise RecipeError(f"line {key.start_mark.line + 1}: {key.value} stands twice; write it once")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(recipe: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A checked recipe; raises RecipeError with one line per fault, each naming its key."""
    data = read(recipe, overrides)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        lines = "\n".join(f"  {line}" for line in faults.told(error.errors()))
        raise RecipeError(f"{find(recipe)} cannot be used:\n{lines}") from error


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
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"--set {key}: {value!r} is not YAML") from error
    if isinstance(at, list):
        at[_index(at, last, key)] = parsed
    else:
        at[last] = parsed


def _index(items: list[Any], part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise RecipeError(f"--set {key}: {part!r} is no place in a list of {len(items)}, which is counted from 0")
    return int(part)
