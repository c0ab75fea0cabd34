"""What a recipe will do, before it does it: the fingerprint of every stage, and what would stop it.

Takes a recipe; gives fingerprints (each of its own section, its upstream's, and the content of local files) and
raises InputError for a missing key variable, model folder or file.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from distill.errors import InputError
from distill.gate_sections import GateTask
from distill.recipe import HERE, Recipe, api_key, located, model_path
from distill.run import STAGES, fingerprint, hash_path
from distill.tasknames import RG_PREFIX
from distill.teacher_sections import Teacher

# How a teacher is reached, not what it says: changing these asks nothing again.
OPERATIONAL = {
    *("base_url", "api_key_env", "stream", "concurrency", "requests_per_minute", "tokens_per_minute"),
    *("timeout_s", "max_retries", "max_outage_s", "grace_s", "budget", "allow_other_model"),
    "capture_logprobs",
}
ATTEMPTS = ("max_per_problem", "keep_per_problem", "give_up_after")


def fingerprints(recipe: Recipe, *, weights: bool = True) -> dict[str, str]:
    """One per stage; a stage's changes with its section, its local files, and everything upstream. Without `weights`
    those of the stages before training alone: the base is read for the others, which takes a large one a while."""
    prints: dict[str, str] = {}
    replay = recipe.teacher.kind == "replay"
    source = [recipe.teacher] if replay else list(recipe.problems)
    files = [hash_path(item.path) for item in source if item.kind in ("dataset", "replay")]
    prints["problems"] = fingerprint([_plain(item) for item in source], files)
    prints["sample"] = fingerprint(teacher_print(recipe), _attempts(recipe), prints["problems"])
    targets = [{"task": task.task, "path": hash_path(task.path), **_drawn(task)} for task in recipe.gate.tasks]
    prints["curate"] = fingerprint(_curation(recipe), targets, prints["sample"])
    if not weights:
        return prints
    prints["train"] = fingerprint(_training(recipe), hash_path(model_path(recipe.student.base)), prints["curate"])
    previous = hash_path(recipe.gate.previous)
    prints["gate"] = fingerprint(_plain(recipe.gate), previous, list(recipe.release.variants), prints["train"])
    prints["release"] = fingerprint(_plain(recipe.release), recipe.name, prints["gate"])
    return prints


def teacher_print(recipe: Recipe) -> str:
    """What the teacher's answers depend on besides the problems."""
    return asked_print(recipe.teacher)


def asked_print(section: Teacher) -> str:
    """The same for any teacher's section."""
    teacher = {key: value for key, value in _plain(section).items() if key not in {*OPERATIONAL, *ATTEMPTS}}
    model = section.model if section.kind == "local" else None
    return fingerprint(teacher, hash_path(model_path(model)) if model else None)


def check(recipe: Recipe, stages: list[str]) -> None:
    """Raises InputError for what would stop one of these stages, before any work."""
    teacher = recipe.teacher
    if "sample" in stages or ("gate" in stages and "teacher" in recipe.gate.baselines):
        if teacher.kind == "endpoint":
            api_key(teacher.api_key_env)
        elif teacher.kind == "local":
            located("teacher.model", teacher.model)
    if {"curate", "train", "gate"} & set(stages):
        located("student.base", recipe.student.base)
    judge = recipe.curate.judge
    if judge is not None and "curate" in stages:
        if judge.engine.kind == "endpoint":
            api_key(judge.engine.api_key_env, "curate.judge.engine")
        else:
            located("curate.judge.engine.model", judge.engine.model)
    objective = recipe.student.objective
    if objective.kind == "kd" and objective.teacher is not None and "train" in stages:
        if objective.teacher.kind == "endpoint":
            api_key(objective.teacher.api_key_env, "student.objective.teacher")
        else:
            located("student.objective.teacher.model", objective.teacher.model)
    for task in recipe.gate.tasks:
        needed = task.path is not None and ("curate" in stages or "gate" in stages)
        if needed and not Path(str(task.path)).expanduser().exists():
            raise InputError(f"gate.tasks, {task.task}: there is no file or folder {task.path}")


def stages_until(until: str | None) -> list[str]:
    """The stages up to and with `until`, all by default; raises InputError for a name that is none."""
    names = list(STAGES)
    if until is None:
        return names
    if until not in names:
        raise InputError(f"--until {until!r} is no stage; write one of {', '.join(names)}")
    return names[: names.index(until) + 1]


def _curation(recipe: Recipe) -> list[Any]:
    """What curation depends on: its own section, the judge's files, and the student, whose tokens are counted and whose
    size decides what is selected."""
    section = recipe.curate.model_dump(mode="json", exclude={"workers", "warn_share"})
    files: list[str | None] = []
    if recipe.curate.judge is not None:
        engine, judge = recipe.curate.judge.engine, section["judge"]
        judge["engine"] = {key: value for key, value in judge["engine"].items() if key not in OPERATIONAL}
        files = [hash_path(recipe.curate.judge.prompt or str(HERE / "curate" / "judge.md"))]
        files += [hash_path(model_path(engine.model))] if engine.kind == "local" else []
    base = model_path(recipe.student.base)
    files += [hash_path(str(Path(base) / name)) for name in ("tokenizer.json", "config.json")]
    return [section, recipe.student.base, recipe.student.revision, files]


def _training(recipe: Recipe) -> list[Any]:
    """What training depends on besides the traces: its own section, and who scores for kd; not who is told of it."""
    section, objective = recipe.student.model_dump(mode="json", exclude={"report_to"}), recipe.student.objective
    if objective.kind != "kd" or objective.teacher is None:
        return [section]
    section["objective"].pop("teacher")
    return [section, asked_print(objective.teacher)]


def _attempts(recipe: Recipe) -> list[int | None]:
    teacher = _plain(recipe.teacher)
    return [teacher[key] for key in ATTEMPTS if key in teacher]


def _plain(section: BaseModel) -> dict[str, Any]:
    return section.model_dump(mode="json")


def _drawn(task: GateTask) -> dict[str, Any]:
    """What a procedural task's problems depend on; nothing for the others."""
    if not task.task.startswith(RG_PREFIX):
        return {}
    return {"size": task.size, "seed": task.seed, "config": task.config}
