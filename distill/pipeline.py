"""The journey: problems → sample → curate → train → gate → release. The only module that knows every package.

Takes a recipe and a run folder; gives sealed stage folders. Each stage reads what the one before it sealed from disk,
so that going on after a kill is the same path as going on after success.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from distill import plan, processes, shards, train_stage
from distill.errors import DistillError, GateClosed, InputError
from distill.recipe import Recipe, model_path
from distill.records import (
    Checkpoint,
    Completion,
    Engine,
    Failure,
    GateReport,
    Problem,
    Request,
    Score,
)
from distill.road import Facts, Road, Say
from distill.run import STAGES, Run, hash_path, write_json


def travel(recipe: Recipe, run: Run, until: str | None, say: Say) -> dict[str, Facts]:
    """Runs what is not done yet, up to and with the stage `until`; returns the manifests.

    Of several processes of torchrun's the first does all of it; the others `join` it in training, and end.
    Raises InputError before any work, DistillError when a stage failed, and GateClosed, after sealing the gate, when
    it did not pass.
    """
    stages = plan.stages_until(until)
    prints = plan.fingerprints(recipe)
    todo = stages[len(_done(recipe, run, stages, prints)) :]
    plan.check(recipe, todo)
    if "train" in todo:
        train_stage.check(recipe)
        train_stage.check_machine(recipe)
    with run.lock(), processes.leading():
        return _stages(Road(recipe, run, say), stages, prints)


def join(recipe: Recipe, run: Run) -> None:
    """Trains as one of torchrun's processes, with the one that travels; says nothing."""
    train_stage.join(Road(recipe, run, lambda line: None))


def _done(recipe: Recipe, run: Run, stages: list[str], prints: dict[str, str]) -> list[str]:
    """The first stages, as far as they are sealed; traces that a budget cut short are not, once it is another one."""

    def done(stage: str) -> bool:
        return run.done(stage, prints[stage]) and not (stage == "sample" and _cap_changed(recipe, run))

    return list(itertools.takewhile(done, stages))


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
            raise GateClosed(f"the gate is closed: {manifest['closed_because']}; nothing is released")
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
    keep = plan.teacher_print(road.recipe) if stage == "sample" else ""
    road.run.begin(stage, print_, keep)
    facts = _STAGES[stage](road)
    facts["seconds"] = round(time.monotonic() - began, 1)
    manifest = road.run.seal(stage, print_, facts)
    road.say(f"{STAGES[stage]}: done in {facts['seconds']} s")
    return manifest


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


def _gate(road: Road) -> Facts:
    import evals
    from distill.release.variants import build
    from students.merge import merge, told

    folder, recipe = road.run.folder("gate"), road.recipe
    checkpoint = _checkpoint(road)
    merged = folder / "merged"
    if not (merged.exists() and (folder / "merge.json").exists()):
        merge(checkpoint, recipe.student.trust_remote_code, merged, road.run.folder("curate"))
    differs: Facts = json.loads((folder / "merge.json").read_text(encoding="utf-8"))
    if differs:
        road.say(f"  {told(differs)}")
    variants = {name: build(merged, name, folder / "variants" / name) for name in recipe.release.variants}
    baselines: dict[str, list[Score]] = {}
    for baseline in recipe.gate.baselines:
        baselines[baseline] = _measure(road, baseline, *_baseline(road, baseline))
    reports: list[GateReport] = []
    for name, path in variants.items():
        scores = _measure(road, name, str(path), lambda path=path: _local(road, str(path)))  # type: ignore[misc]
        trained = str(Path(checkpoint.path).relative_to(road.run.root))  # a release names no path of this machine
        reports.append(evals.judge(recipe.gate, trained, name, scores, baselines))
    write_json(folder / "reports.json", [shards.to_row(report) for report in reports])
    bad = [f"{report.variant}: {check.why}" for report in reports for check in report.checks if check.outcome != "pass"]
    if any(report.smoke for report in reports):
        bad.insert(0, "a smoke run (a task has a limit) can never release")
    return {
        "passed": all(report.passed for report in reports),
        "smoke": any(report.smoke for report in reports),
        "closed_because": "; ".join(bad) or "no variant passed",
        "confidence": recipe.gate.confidence,
        "merge": differs,
        "variants": {report.variant: report.passed for report in reports},
    }


def _measure(road: Road, name: str, key: str, load: Callable[[], Engine]) -> list[Score]:
    """Scores of one model; the model is only loaded where a task is not measured yet."""
    import evals

    road.say(f"  measuring {name}")
    content, folder = hash_path(key) or key, road.run.folder("gate") / "scores" / name
    with road.verifier() as verifier:
        scores = evals.evaluate(_Lazy(load), f"{name}-{content}", road.recipe.gate, verifier, folder)
    for score in scores:
        road.say(f"    {score.task}: {score.value:.3f} ± {score.stderr:.3f}, unfinished {score.unfinished:.3f}")
    return scores


class _Lazy:
    """An engine that is loaded when it is first asked: a task that is measured already loads no model."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        self._load = load
        self._engine: Engine | None = None

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """As the engine itself."""
        if self._engine is None:
            self._engine = self._load()
        yield from self._engine.complete(requests)


def _baseline(road: Road, name: str) -> tuple[str, Callable[[], Engine]]:
    """What a baseline is known by, and how it is loaded."""
    student, teacher = road.recipe.student, road.recipe.teacher
    if name == "base":
        return model_path(student.base), lambda: _local(road, student.base)

    def connect() -> Engine:
        from distill import engines

        if teacher.kind not in ("local", "endpoint"):
            raise DistillError(f"a {teacher.kind} teacher cannot be measured")
        return engines.connect(teacher)

    return model_path(teacher.model) if teacher.kind == "local" else plan.teacher_print(road.recipe), connect


def _local(road: Road, path: str) -> Engine:
    from distill.engines.local import load

    student = road.recipe.student
    return load(
        path,
        revision=student.revision if path == student.base else None,
        quantization="none",
        batch_size=road.recipe.gate.batch_size,
        trust_remote_code=student.trust_remote_code,
    )


def _checkpoint(road: Road) -> Checkpoint:
    manifest = road.run.manifest("train") or {}
    stored: Checkpoint = shards.from_row(Checkpoint, manifest | {"path": str(road.run.root / manifest["path"])})
    return stored


def _release(road: Road) -> Facts:
    from distill.release import publish

    folder, run = road.run.folder("release"), road.run
    gate = run.folder("gate")
    reports = shards.read_list(gate / "reports.json", GateReport)
    manifests = {stage: run.manifest(stage) or {} for stage in STAGES if stage != "release"}
    lineage = [run.folder(stage) / "manifest.json" for stage in manifests]
    lineage += [run.root / "recipe.json", gate / "reports.json", run.folder("train") / "metrics.jsonl"]
    lineage += sorted(run.folder("problems").glob("part-*.parquet")) + sorted(
        run.folder("curate").glob("part-*.parquet")
    )
    variants: dict[str, Path] = {name: gate / "variants" / name for name in road.recipe.release.variants}
    release = publish(road.recipe.name, variants, reports, manifests, lineage, folder / road.recipe.name)
    road.say(f"  released to {release.path}: {', '.join(release.variants)}, {len(release.files)} files")
    return {"path": str(Path(release.path).relative_to(run.root)), "files": release.files}


_STAGES: dict[str, Callable[[Road], Facts]] = {
    "problems": _problems,
    "sample": _sample,
    "curate": _curate,
    "train": train_stage.train,
    "gate": _gate,
    "release": _release,
}
