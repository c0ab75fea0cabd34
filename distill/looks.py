"""The commands of `distill` that look, and change nothing of a run but its report: names in, what is there out.

Heavy modules are imported where they are used, so that `distill --help` answers at once.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.errors import InputError

if TYPE_CHECKING:
    from distill.run import Run

looks = typer.Typer()

RecipeArg = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as student.seed=1.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")
]
RunArg = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in ./runs.")]


@looks.command()
def show(
    recipe: RecipeArg,
    overrides: SetOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each key means.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Shows the resolved recipe, and where each value came from."""
    from distill.recipe import load, read
    from distill.views import explained

    changes = tuple(overrides or ())
    loaded = load(recipe, changes)
    if as_json:
        print(json.dumps(loaded.model_dump(mode="json"), ensure_ascii=False))
        return
    sources = (read(recipe, changes), [change.partition("=")[0] for change in changes])
    print("\n".join(explained(loaded, *sources, texts=explain)))


@looks.command()
def peek(
    run: RunArg,
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="problems, traces, failed, kept or dropped.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many records.")] = 3,
    reason: Annotated[str | None, typer.Option(help="Only those dropped for this reason.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Looks at the records of a stage."""
    from distill.views import records_of

    count = 0
    for record, text in records_of(the_run(run), stage, limit, reason):
        print(json.dumps(record, ensure_ascii=False) if as_json else text)
        count += 1
    if not count:
        print(f"{run} has no {stage}{f' for the reason {reason}' if reason else ''}: none at all", file=sys.stderr)


@looks.command()
def status(run: RunArg, as_json: JsonOption = False) -> None:
    """Says which stages of a run are done, and how its gate ended."""
    from distill.run import STAGES
    from distill.views import closed_because, summary, traces_so_far

    found = the_run(run)
    manifests = {stage: found.manifest(stage) for stage in STAGES}
    if as_json:
        print(json.dumps({"run": str(found.root), "stages": manifests}, ensure_ascii=False))
        return
    for stage, manifest in manifests.items():
        state = f"done {manifest.get('sealed')}, {manifest.get('seconds')} s" if manifest else "not done"
        if stage == "sample" and not manifest and (count := traces_so_far(found)):
            state = f"not done, {count:,} traces so far"
        print(f"{STAGES[stage]:11} {state}")
    if manifests["gate"]:
        summary(found, sys.stdout)
        for line in closed_because(found):
            print(f"  {line}")


@looks.command()
def report(run: RunArg) -> None:
    """Writes a run's report: one HTML page that needs nothing else."""
    from distill.report import write

    print(write(the_run(run)))


@looks.command()
def leaderboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUNS]...", help="Runs, releases, or folders of them; all of ./runs if none."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="ROW", help="Hold the others against this row, not the best.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals and comparisons, from 0.5 to below 1.")] = 0.95,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compares releases and baselines in one table, and marks what differs significantly."""
    from distill.leaderboard import board, found, gated

    sources = [source for run in runs for source in found(_place(run))] if runs else gated(Path("runs"))
    table = board(sources, confidence, reference)
    if html is not None:
        _write(html, table.html(), "--html")
    if as_json:
        print(json.dumps(table.json(), ensure_ascii=False))
    else:
        table.text(sys.stdout)


@looks.command()
def tasks(as_json: JsonOption = False) -> None:
    """Lists the gate's tasks: what each asks, from where, and under which licence."""
    from distill.catalogue import catalogue, lines

    found = catalogue()
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines(found)))


@looks.command()
def power(recipe: RecipeArg, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Says what a recipe's gate can tell, before anything is measured: its chances, and how many problems it needs."""
    from dataclasses import asdict

    from distill.pipeline import check_tasks
    from distill.recipe import load
    from distill.tasknames import RG_PREFIX
    from evals.benchmarks import sizes
    from evals.power import forecast, lines

    gate = load(recipe, tuple(overrides or ())).gate
    check_tasks([task for task in gate.tasks if task.task.startswith(RG_PREFIX)])
    found = forecast(gate, sizes(gate.tasks))
    print(json.dumps([asdict(one) for one in found]) if as_json else "\n".join(lines(found)))


@looks.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new recipe's name; NAME.yaml is written here.")],
    like: Annotated[
        str, typer.Option("--from", metavar="RECIPE", help="The shipped recipe to start from.")
    ] = "quickstart",
) -> None:
    """Writes a recipe of your own from a shipped one."""
    from distill.recipe import HERE, run_name, shipped

    try:
        target = Path(f"{run_name(name)}.yaml")
    except ValueError as error:
        raise InputError(str(error)) from error
    if like not in shipped():
        raise InputError(f"--from {like!r} is no shipped recipe; write one of {', '.join(shipped())}")
    if target.exists():
        raise InputError(f"{target} is there already; choose another name")
    lines = (HERE / "recipes" / f"{like}.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(f"name: {json.dumps(name)}\n" if line.startswith("name:") else line for line in lines)
    _write(target, text, "NAME")
    print(f"wrote {target}; look at it with `distill show {target} --explain`, run it with `distill run {target}`")


@looks.command()
def doctor(as_json: JsonOption = False) -> None:
    """Says what this machine can do."""
    from distill.views import machine

    facts: dict[str, Any] = machine()
    print(json.dumps(facts) if as_json else "\n".join(f"{name:18} {value}" for name, value in facts.items()))


@looks.command()
def version() -> None:
    """Says which distill this is."""
    from distill import __version__

    print(__version__)


def the_run(name: str) -> "Run":
    """The run of this name; raises InputError where there is none."""
    found = run_or_none(name)
    if found is None:
        raise InputError(f"there is no run {name!r}: neither {name}/recipe.json nor runs/{name}/recipe.json is there")
    return found


def run_or_none(name: str) -> "Run | None":
    """The run in this folder, or of this name in ./runs."""
    from distill.run import Run

    return next((Run(root) for root in (Path(name), Path("runs") / name) if (root / "recipe.json").exists()), None)


def _place(run: Path) -> Path:
    """A folder, or one in ./runs; raises InputError where there is none."""
    found = next((place for place in (run, Path("runs") / run) if place.is_dir()), None)
    if found is None:
        raise InputError(f"there is no run and no release {str(run)!r}: neither {run} nor runs/{run} is a folder")
    return found


def _write(path: Path, text: str, option: str) -> None:
    """Writes a file that a person named; raises InputError where it cannot be."""
    from distill.run import write_text

    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; write a file's name")
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f"{option} {path} cannot be written ({error.strerror}); write another name") from error
