"""The stage `release` of the journey: takes the road behind a passed gate, writes the release's folder, and takes it
to the Hub where the recipe says so.
"""

import json
from pathlib import Path

from distill import shards
from distill.errors import DistillError
from distill.judged import read_reports
from distill.recipe import Recipe
from distill.records import GateReport
from distill.road import Facts, Road
from distill.run import STAGES


def check(recipe: Recipe) -> None:
    """Raises InputError, before any work, for what would stop a release: no token, or a licence that forbids it."""
    from distill.release import check as ready

    ready(recipe)


def release(road: Road) -> Facts:
    """Publishes what the gate passed, and gives the facts for the manifest."""
    from distill.release import publish
    from distill.release.licences import settle
    from distill.release.story import Story

    run, recipe = road.run, road.recipe
    folder, gate = run.folder("release"), run.folder("gate")
    manifests = {stage: run.manifest(stage) or {} for stage in STAGES if stage != "release"}
    story = Story(recipe, manifests, _reports(gate, manifests["gate"]))
    variants: dict[str, Path] = {name: gate / "variants" / name for name in recipe.release.variants}
    out = publish(story, variants, _lineage(road), gate / "scores", folder / recipe.name)
    road.say(f"  released to {out.path}: {', '.join(out.variants)}, {len(out.files)} files")
    for line in settle(story).warnings:
        road.say(f"  {line}")
    facts: Facts = {"path": str(Path(out.path).relative_to(run.root)), "files": out.files}
    if recipe.release.to == "hub":
        from distill.release.hub import push

        pushed = push(story, Path(out.path), run.root / "pushing.json", adopt=road.adopt, say=road.say)
        facts |= {"repos": dict(pushed.repos), "tag": pushed.tag, "url": pushed.url}
        road.say(f"  pushed {pushed.tag} to {pushed.url}")
    return facts


def _reports(gate: Path, sealed: Facts) -> list[GateReport]:
    """The gate's reports; raises DistillError where they are not what it sealed, or not what it measured, and
    ShardError where they cannot be read."""
    path = gate / "reports.json"
    reports = read_reports(path)
    waived = [check.waiver for report in reports for check in report.checks if check.waiver]
    as_sealed = {report.variant: report.passed for report in reports} == sealed["variants"]
    as_waived = waived == [row["waiver"] for row in sealed["waived"]]
    if not (as_sealed and as_waived and all(_as_measured(gate, report) for report in reports)):
        raise DistillError(f"{path} was changed after the gate; delete {gate / 'manifest.json'} to judge again")
    return reports


def _as_measured(gate: Path, report: GateReport) -> bool:
    """Whether a report's scores are those that lie with their records."""
    for score in report.scores:
        kept = json.loads((gate / "scores" / report.variant / f"{score.task}.json").read_text(encoding="utf-8"))
        if kept["score"] != json.loads(json.dumps(shards.to_row(score))):
            return False
    return True


def _lineage(road: Road) -> list[Path]:
    """The files that say where the weights come from: manifests, recipe, reports, losses, problems and kept traces."""
    run = road.run
    files = [run.folder(stage) / "manifest.json" for stage in STAGES if stage != "release"]
    files += [run.root / "recipe.json", run.folder("gate") / "reports.json", run.folder("train") / "metrics.jsonl"]
    for stage in ("problems", "curate"):
        files += sorted(run.folder(stage).glob("part-*.parquet"))
    return files
