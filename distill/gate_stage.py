"""The stage `gate` of the journey: takes the road, makes the variants, measures them beside the baselines, and judges.

Everything that is measured is known by what it is (a hash of its weights, a commit, a served name), so that scores
outlive the run: they lie in `.scores` beside all runs, and a base is measured once.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill import plan, shards
from distill.errors import DistillError, EngineError, InputError
from distill.journal import Journal
from distill.recipe import Recipe, api_key, model_path
from distill.records import Checkpoint, Completion, Engine, Expense, Failure, GateReport, Request, Score, Watch
from distill.road import Facts, Road
from distill.run import hash_path, write_json
from distill.teacher_sections import EndpointTeacher


def gate(road: Road) -> Facts:
    """Measures and judges, and gives the facts for the manifest. A closed gate is a result, not an error."""
    import evals

    folder, recipe = road.run.folder("gate"), road.recipe
    checkpoint = _checkpoint(road)
    merged, differs = _merged(road, checkpoint)
    variants = _variants(road, merged)
    contaminated = _contaminated(road)
    beside: dict[str, Sequence[Score]] = {}
    for baseline in recipe.gate.baselines:
        beside[baseline] = _measure(road, _baseline(road, baseline), None)
    if recipe.gate.max_variant_drop is not None and set(variants) - {"bf16"}:
        beside["bf16"] = _measure(road, _student(road, "bf16", variants.get("bf16", merged)), None)
    reports = []
    for name, path in variants.items():
        known = {other: scores for other, scores in beside.items() if other != name}
        scores = beside[name] if name in beside else _measure(road, _student(road, name, path), known)
        trained = str(Path(checkpoint.path).relative_to(road.run.root))  # a release names no path of this machine
        reports.append(evals.judge(recipe.gate, trained, name, scores, known, contaminated=contaminated))
    for stale in (folder / "scores").glob("*"):
        if stale.name not in {*variants, *beside}:
            shutil.rmtree(stale)
    write_json(folder / "reports.json", [shards.to_row(report) for report in reports])
    for name in evals.unmatched_waivers(recipe.gate, reports):
        road.say(f"  waive: {name} names no check of this gate, and lets nothing through")
    return _facts(road, reports) | {"merge": differs, "contaminated": contaminated}


def _facts(road: Road, reports: Sequence[GateReport]) -> Facts:
    bad = [f"{report.variant}: {check.why}" for report in reports for check in report.checks if not check.open]
    smoke = any(report.smoke for report in reports)
    if smoke:
        bad.insert(0, "a smoke run (a task has a limit) can never release")
    return {
        "passed": all(report.passed for report in reports),
        "smoke": smoke,
        "closed_because": "\n".join(bad) or "no variant passed",
        "confidence": road.recipe.gate.confidence,
        "variants": {report.variant: report.passed for report in reports},
        "waived": [
            {"check": f"{report.variant}:{check.task}/{check.term}", "outcome": check.outcome, "waiver": check.waiver}
            for report in reports
            for check in report.checks
            if check.waiver
        ],
    }


def _merged(road: Road, checkpoint: Checkpoint) -> tuple[Path, Facts]:
    """The student's whole weights, and how far they are from what was trained; made where they are not there yet."""
    from students.merge import merge, told

    folder = road.run.folder("gate")
    merged = folder / "merged"
    if not (merged.exists() and (folder / "merge.json").exists()):
        merge(checkpoint, road.recipe.student.trust_remote_code, merged, road.run.folder("curate"))
    differs: Facts = json.loads((folder / "merge.json").read_text(encoding="utf-8"))
    if differs:
        road.say(f"  {told(differs)}")
    return merged, differs


def _variants(road: Road, merged: Path) -> dict[str, Path]:
    from distill.release.variants import build

    folder = road.run.folder("gate") / "variants"
    return {name: build(merged, name, folder / name) for name in road.recipe.release.variants}


def _contaminated(road: Road) -> dict[str, int]:
    """How many kept traces have a prompt that stands in each of the gate's tasks."""
    import evals
    from distill.curate.contaminated import contaminated

    prompts = evals.questions(road.recipe.gate.tasks)
    return contaminated(road.run.folder("curate"), prompts, road.recipe.curate.decontaminate)


def _measure(road: Road, subject: Any, baselines: Mapping[str, Sequence[Score]] | None) -> list[Score]:
    """Scores of one model; in rounds, where the recipe says so and there is something to hold them against."""
    import evals

    road.say(f"  measuring {subject.name}")
    folder = road.run.folder("gate") / "scores" / subject.name
    store = road.run.root.parent / ".scores"

    def say(line: str) -> None:
        road.say(f"    {line}")

    with road.verifier() as verifier:
        scores: list[Score] = evals.evaluate(
            subject, road.recipe.gate, verifier, folder, store, baselines=baselines, say=say
        )
    for score in scores:
        asked = f", {score.n_problems:,} of {score.planned:,} problems" if score.n_problems < score.planned else ""
        say(f"{score.task}: {score.value:.3f} ± {score.stderr:.3f}, unfinished {score.unfinished:.3f}{asked}")
    return scores


def _student(road: Road, name: str, path: Path) -> Any:
    return _subject(road, name, str(path), lambda: _local(road, str(path), None))


def _baseline(road: Road, name: str) -> Any:
    """What is measured beside the student.

    A base is asked as its own chat template asks it: one that does not reason, and whose thinking were opened for it,
    would never close it, and every student would be better than nothing.
    """
    student, teacher = road.recipe.student, road.recipe.teacher
    if name == "base":
        return _subject(road, name, student.base, lambda: _local(road, student.base, student.revision, reasons=False))
    if name == "previous":
        from distill.release.previous import previous

        path = previous(str(road.recipe.gate.previous), road.run.root / "previous")
        return _subject(road, name, str(path), lambda: _local(road, str(path), None))
    if teacher.kind not in ("local", "endpoint"):
        raise DistillError(f"a {teacher.kind} teacher cannot be measured")

    if teacher.kind == "local":
        from distill import engines

        return _subject(road, name, teacher.model, lambda: engines.connect(teacher))
    return _subject(road, name, None, lambda: _served(road, teacher))


def _subject(road: Road, name: str, weights: str | None, load: Callable[[], Engine]) -> Any:
    """A model as it is measured: on this machine, or by the server that the recipe names for it."""
    import evals

    recipe = road.recipe
    if weights is None:
        return evals.Subject(name, plan.teacher_print(recipe), load)
    content = hash_path(model_path(weights)) or _commit(weights, recipe.student.revision if name == "base" else None)
    content += "-as-templated" if name == "base" else ""
    served = {str(key): section for key, section in recipe.gate.served.items()}.get(name)
    if served is None:
        return evals.Subject(name, content, load)

    def connect() -> Engine:
        road.say(f"    asking {served.base_url} for {served.model}, which must serve {weights}")
        return _served(road, served)

    return evals.Subject(name, f"{content}-{plan.asked_print(served)}", connect)


def _commit(model: str, revision: str | None) -> str:
    """The commit that a Hub model's revision stands for now, or stood for when it was last downloaded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(hf_hub_download(model, "config.json", revision=revision)).parent.name
    except (HfHubHTTPError, OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{model} is neither a model folder nor a model that the Hub gives out: {said}") from error


class Capped:
    """An engine over a server with a budget: what it does not hold is never sent.

    The cap is the gate's own, beside that of sampling. What was spent stands in a ledger beside the run's stages, so
    that a gate which is killed, or run again, does not begin anew.
    """

    def __init__(self, section: EndpointTeacher, ledger: Path, say: Callable[[str], None]) -> None:
        from distill import engines
        from teachers.budget import Purse

        journal = Journal(ledger, Expense)
        self._purse = Purse(section.budget, journal, list(journal.read()))
        self._engine = engines.connect(section, Watch(say, self._purse.may_retry), reasons=False)

    def complete(self, requests: Iterable[Request | None]) -> Iterator[tuple[Request, Completion | Failure]]:
        """As an engine does; raises EngineError once the budget does not hold a request, and what was sent has come."""
        refused: list[Request] = []

        def held() -> Iterator[Request | None]:
            for request in requests:
                if request is not None and not self._purse.reserve(request):
                    refused.append(request)
                    return
                yield request

        for request, outcome in self._engine.complete(held()):
            self._purse.settle(request, outcome)
            yield request, outcome
        self._purse.close()
        if refused:
            raise EngineError(
                f"the budget does not hold one more sample of the gate: {self._purse.cap()} are spent on it; raise it, "
                "or take this model out of gate.baselines or gate.served"
            )


def _served(road: Road, section: EndpointTeacher) -> Engine:
    """A server's model. Whether it reasons is for its answers to show: one without thinking is an answer, too."""
    from distill import engines

    def say(line: str) -> None:
        road.say(f"    {line}")

    if section.budget is None:
        return engines.connect(section, Watch(say), reasons=False)
    return Capped(section, road.run.root / f"gate-spent-{plan.asked_print(section)}.jsonl", say)


def _local(road: Road, path: str, revision: str | None, *, reasons: bool = True) -> Engine:
    from distill.engines.local import load

    return load(
        path,
        revision=revision,
        quantization="none",
        batch_size=road.recipe.gate.batch_size,
        trust_remote_code=road.recipe.student.trust_remote_code,
        reasons=reasons,
    )


def _checkpoint(road: Road) -> Checkpoint:
    manifest = road.run.manifest("train") or {}
    stored: Checkpoint = shards.from_row(Checkpoint, manifest | {"path": str(road.run.root / manifest["path"])})
    return stored


def check(recipe: Recipe) -> None:
    """Raises InputError, before any work, for keys that are not there."""
    for name, served in recipe.gate.served.items():
        api_key(served.api_key_env, f"gate.served.{name}")
