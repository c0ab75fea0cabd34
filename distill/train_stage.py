"""The stage `train` of the journey: takes the road, has the teacher score where it must, gives a trained student.

Also `lint`, which looks at what would be trained on and trains nothing.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from distill import plan, processes, shards
from distill.errors import DistillError
from distill.recipe import Recipe, model_path
from distill.records import Checkpoint, Kept
from distill.road import Facts, Road, Say
from distill.run import STAGES, Run, fingerprint, hash_path


def lint(recipe: Recipe, run: Run) -> Any:
    """What would spoil the training, as `students.findings.Findings`: by the run's kept traces, or made-up ones where
    this recipe has kept none yet. No weight is loaded, and nothing is written."""
    from students.lint import lint as look
    from students.lint import made_up

    plan.check(recipe, ["train"])
    check(recipe)
    if run.done("curate", plan.fingerprints(recipe, weights=False)["curate"]):
        return _lint_kept(recipe, run, _unsaid)
    return look(recipe.student, made_up(), _unsaid, f"made-up traces ({run.root} has kept none yet)")


def check(recipe: Recipe) -> None:
    """Raises InputError, before any work, for a teacher whose tokens are not the student's though kd needs them."""
    if recipe.student.objective.kind == "kd":
        from teachers.signals import agree

        agree(_scoring_teacher(recipe), recipe.student, recipe.student.objective.teacher_tokenizer)


def check_machine(recipe: Recipe) -> None:
    """Raises InputError, before any work, for what is not installed here or needs torchrun."""
    student = recipe.student
    if student.distributed or student.report_to or student.liger:  # torch takes seconds, and is not needed otherwise
        from students.arguments import check

        check(student)


def train(road: Road) -> Facts:
    """Trains, and gives the facts for the manifest."""
    kept = road.run.manifest("curate") or {}
    if not kept["kept"]:
        why = ", ".join(f"{count} {reason}" for reason, count in kept["dropped"].items())
        raise DistillError(
            f"there is nothing to train on: of {kept['read']} traces none was kept ({why}); "
            f"`distill peek {road.run.root} dropped` shows them"
        )
    folder = road.run.folder("train")

    def say(line: str) -> None:
        road.say(f"  {line}")

    _lint_kept(road.recipe, road.run, say).raise_errors()
    signals = _signals(road) if road.recipe.student.objective.kind == "kd" else None
    processes.call()
    checkpoint = _student(road, signals, say)
    facts: Facts = json.loads((folder / "train.json").read_text(encoding="utf-8"))
    facts |= shards.to_row(checkpoint)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    road.say(
        f"  {facts['traces']:,} traces, {facts['steps']} steps, {facts['tokens']:,} tokens, "
        f"{facts['tokens_per_s']:,.0f} tokens/s, peak memory {facts['peak_memory_gib']:.2f} GiB"
    )
    facts["path"] = str(Path(checkpoint.path).relative_to(road.run.root))
    return facts


def join(road: Road) -> None:
    """Trains together with the process that leads, as another one of torchrun's; writes and says nothing."""
    _student(road, _signals_folder(road) if road.recipe.student.objective.kind == "kd" else None, road.say)


def _student(road: Road, signals: Path | None, say: Say) -> Checkpoint:
    import students

    run, cache = road.run, road.run.root / "prepared"
    with road.verifier() as verifier:
        kept, folder = run.folder("curate"), run.folder("train")
        return students.train(students.Job(road.recipe.student, kept, folder, cache, say, signals, verifier))


def _lint_kept(recipe: Recipe, run: Run, say: Say) -> Any:
    from students.lint import lint as look

    kept = shards.read_parts(run.root / STAGES["curate"], Kept)
    return look(recipe.student, kept, say, f"kept traces of {run.root}")


def _unsaid(line: str) -> None:
    """The findings themselves say it all."""


def _signals(road: Road) -> Path:
    """The folder of the teacher's signals on the kept traces, made where it is not there yet: changing how the student
    learns asks the teacher nothing again."""
    from distill.signals import SignalSettings
    from teachers.signals import Job, score

    recipe, objective = road.recipe, road.recipe.student.objective
    if objective.kind != "kd":
        raise ValueError("only kd has signals")
    teacher = _scoring_teacher(recipe)
    captured = road.run.folder("sample") / "signals" if objective.signals == "captured" else None
    job = Job(
        section=teacher,
        student=recipe.student,
        kept=road.run.folder("curate"),
        folder=_signals_folder(road),
        settings=SignalSettings(k=objective.k, mass=objective.mass),
        captured=captured,
        tokenizer=objective.teacher_tokenizer,
        say=road.say,
    )
    facts = score(job)
    road.say(f"  signals of {facts['traces']:,} traces, {facts['bytes_per_token']:.1f} bytes per token")
    return job.folder


def _signals_folder(road: Road) -> Path:
    """Where the signals lie: a name of its own for whatever changes them."""
    recipe, objective = road.recipe, road.recipe.student.objective
    if objective.kind != "kd":
        raise ValueError("only kd has signals")
    name = fingerprint(
        plan.asked_print(_scoring_teacher(recipe)),
        [objective.signals, objective.k, objective.mass, objective.teacher_tokenizer],
        [
            recipe.student.base,
            recipe.student.revision,
            hash_path(str(Path(model_path(recipe.student.base)) / "tokenizer.json")),
        ],
        recipe.student.max_tokens,
        (road.run.manifest("curate") or {})["fingerprint"],
    )
    return road.run.root / "signals" / name


def _scoring_teacher(recipe: Recipe) -> Any:
    """Who scores for kd: the objective's own teacher, or the recipe's."""
    objective = recipe.student.objective
    return (objective.teacher if objective.kind == "kd" else None) or recipe.teacher
