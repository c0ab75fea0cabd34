"""The journey: problems → sample → curate → train → gate → release. The only module that knows every package.

Takes a recipe and a run folder; gives sealed stage folders. Each stage reads what the one before it sealed from disk,
so that going on after a kill is the same path as going on after success.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill import gate_stage, plan, processes, release_stage, shards, train_stage
from distill.errors import GateClosed, InputError
from distill.gate_sections import GateTask
from distill.recipe import Recipe
from distill.records import Problem
from distill.road import Facts, Road, Say
from distill.run import STAGES, Run, write_json


def travel(recipe: Recipe, run: Run, until: str | None, say: Say, *, adopt: bool = False) -> dict[str, Facts]:
    """Runs what is not done yet, up to and with the stage `until`; returns the manifests. With `adopt` a release may
    take over a Hub repository that distill did not make.

    Of several processes of torchrun's the first does all of it; the others `join` it in training, and end.
    Raises InputError before any work, DistillError when a stage failed, and GateClosed, after sealing the gate, when
    it did not pass.
    """
    stages = plan.stages_until(until)
    prints = plan.fingerprints(recipe)
    _check(recipe, run, stages[len(_done(recipe, run, stages, prints)) :])
    with run.lock(), processes.leading():
        return _stages(Road(recipe, run, say, adopt), stages, prints)


def _check(recipe: Recipe, run: Run, todo: list[str]) -> None:
    """Raises InputError for what would stop one of the stages to do, before any work."""
    plan.check(recipe, todo)
    if "train" in todo:
        train_stage.check(recipe)
        train_stage.check_machine(recipe)
    if "gate" in todo:
        gate_stage.check(recipe)
    if "release" in todo:
        release_stage.check(recipe)
    if {"curate", "gate"} & set(todo):
        check_tasks(recipe.gate.tasks)
    if "gate" in todo and recipe.gate.previous is not None:
        _check_previous(recipe.gate.previous, run)


def check_tasks(tasks: Sequence[GateTask]) -> None:
    """Raises InputError for tasks of the gate whose problems cannot be read or made; of what is made, one problem."""
    import evals

    for task in tasks:
        try:
            evals.questions([task.model_copy(update={"size": 1})])
        except InputError as error:
            said = str(error).removeprefix(f"{task.task}: ")
            raise InputError(f"gate.tasks, {task.task}: {said}") from error


def _check_previous(where: str, run: Run) -> None:
    """Raises InputError for a previous release that cannot be had, or that this run's own gate would remove."""
    from distill.release.previous import previous

    if Path(where).expanduser().resolve().is_relative_to(run.root.resolve()):
        raise InputError(
            f"gate.previous: {where} lies in this very run, which makes its release anew; copy it to a folder of its "
            "own, or run under another name"
        )
    previous(where, run.root / "previous")


def join(recipe: Recipe, run: Run) -> None:
    """Trains as one of torchrun's processes, with the one that travels; says nothing."""
    train_stage.join(Road(recipe, run, lambda line: None))


def _done(recipe: Recipe, run: Run, stages: list[str], prints: dict[str, str]) -> list[str]:
    """The first stages, as far as they are sealed; traces that a budget cut short are not, once it is another one."""

    def done(stage: str) -> bool:
        return run.done(stage, prints[stage]) and not (stage == "sample" and _cap_changed(recipe, run))

    found = list(itertools.takewhile(done, stages))
    if found and not _is_whole(recipe, run, found[-1], "release" in stages):
        found.pop()  # somebody deleted a part of what the next stage, or a person, would look for
    return found


def _is_whole(recipe: Recipe, run: Run, last: str, releases: bool) -> bool:
    """Whether what the gate leaves for people, or for the release, and the release itself are still there. What was
    pushed stays pushed, and is not made again for its folder."""
    manifest = run.manifest(last) or {}
    if last == "gate":
        needed = [run.root / STAGES["gate"] / "reports.json"]
        for name in recipe.release.variants if releases else ():
            needed += [run.root / STAGES["gate"] / inner / name for inner in ("variants", "scores")]
        return all(path.exists() for path in needed)
    if last == "release" and recipe.release.to == "folder":
        return (run.root / str(manifest["path"])).exists()
    return True


def _cap_changed(recipe: Recipe, run: Run) -> bool:
    manifest, teacher = run.manifest("sample") or {}, recipe.teacher
    if not manifest.get("left_undone"):
        return False
    return teacher.kind != "endpoint" or teacher.budget is None or teacher.budget.caps != manifest["caps"]


def _stages(road: Road, stages: list[str], prints: dict[str, str]) -> dict[str, Facts]:
    done = _done(road.recipe, road.run, stages, prints)
    _write_recipe(road)
    manifests: dict[str, Facts] = {}
    for stage in stages:
        if stage in done:
            road.say(f"{STAGES[stage]}: already done, nothing to do")
            manifest = road.run.manifest(stage) or {}
        else:
            manifest = _do(stage, road, prints[stage])
        manifests[stage] = manifest
        if stage == "gate" and not manifest["passed"]:
            because = "".join(f"\n  {line}" for line in manifest["closed_because"].splitlines())
            raise GateClosed(f"the gate is closed, and nothing is released:{because}")
    return manifests


def sample_some(recipe: Recipe, run: Run, say: Say, *, shard: str | None, pilot: int | None) -> Facts:
    """Samples a shard (`3/8`) of the problems, or a pilot of so many; neither seals the stage. Returns the facts.

    Several processes may sample shards of one run at once. Raises InputError where this cannot be asked for.
    """
    from teachers.stage import Shard, sample_pilot, sample_shard

    if recipe.teacher.kind == "replay":
        raise InputError("a replay teacher asks nobody: there is nothing to estimate or to split")
    part = Shard.parse(shard) if shard is not None else None
    if part is not None and pilot is not None:
        raise InputError("--estimate asks for a few problems of the whole, --shard for a part: write one of them")
    if pilot is not None and pilot < 1:
        raise InputError(f"--estimate {pilot} asks for no problem; write a number such as 50")
    plan.check(recipe, ["problems", "sample"])
    prints = plan.fingerprints(recipe)
    road = Road(recipe, run, say)
    with road.verifier() as verifier:
        with run.lock(wait=part is not None):
            if run.done("sample", prints["sample"]) and not _cap_changed(recipe, run):
                raise InputError(f"{run.folder('sample')} is done already; there is nothing left to ask for")
            if not run.done("problems", prints["problems"]):
                _write_recipe(road)
                _do("problems", road, prints["problems"])
            run.begin("sample", prints["sample"], plan.teacher_print(recipe))
            if part is None:
                return sample_pilot(_job(road, verifier), pilot or 1)
        return sample_shard(_job(road, verifier), part)  # the lock is off: other shards begin beside this one


def _write_recipe(road: Road) -> None:
    write_json(road.run.root / "recipe.json", road.recipe.model_dump(mode="json"))


def _do(stage: str, road: Road, print_: str) -> Facts:
    road.say(f"{STAGES[stage]}: begins")
    began = time.monotonic()
    road.run.begin(stage, print_, _kept_for(stage, road))
    facts = _STAGES[stage](road)
    facts["seconds"] = round(time.monotonic() - began, 1)
    manifest = road.run.seal(stage, print_, facts)
    road.say(f"{STAGES[stage]}: done in {facts['seconds']} s")
    return manifest


def _kept_for(stage: str, road: Road) -> str:
    """What a stage's folder is kept for though its fingerprint changed: the teacher's answers, and the merged student
    (other bounds of the gate merge nothing again)."""
    if stage == "sample":
        return plan.teacher_print(road.recipe)
    return (road.run.manifest("train") or {})["fingerprint"] if stage == "gate" else ""


def _problems(road: Road) -> Facts:
    folder, recipe = road.run.folder("problems"), road.recipe
    if recipe.teacher.kind == "replay":
        from teachers.replay import Replay

        replay = Replay(recipe.teacher)
        seen = {trace.problem.id: trace.problem for trace in replay.traces()}
        shards.write_parts(folder, seen.values(), Problem)
        counts = {"rows": replay.rows, "problems": len(seen), **replay.skipped}
    else:
        from distill.problems import load

        loaded = load(recipe.problems)
        shards.write_parts(folder, loaded.problems, Problem)
        counts = loaded.counts
    road.say("  " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))
    return {"problems": counts["problems"], "counts": counts}


def _sample(road: Road) -> Facts:
    from teachers.stage import sample

    with road.verifier() as verifier:
        return sample(_job(road, verifier))


def _job(road: Road, verifier: Any) -> Any:
    from teachers.stage import Job

    return Job(road.recipe.teacher, road.run.folder("problems"), road.run.folder("sample"), verifier, road.say)


def _curate(road: Road) -> Facts:
    import evals
    from distill.curate.stage import Job, curate

    recipe, run = road.recipe, road.run
    prompts = evals.questions(recipe.gate.tasks)
    with road.verifier() as verifier:
        job = Job(
            section=recipe.curate,
            student=recipe.student,
            prompts=prompts,
            traces=run.folder("sample"),
            folder=run.folder("curate"),
            votes=run.root / "votes.jsonl",
            verifier=verifier,
            say=road.say,
        )
        return curate(job) | {"decontaminated_against": sorted(prompts)}


_STAGES: dict[str, Callable[[Road], Facts]] = {
    "problems": _problems,
    "sample": _sample,
    "curate": _curate,
    "train": train_stage.train,
    "gate": gate_stage.gate,
    "release": release_stage.release,
}
