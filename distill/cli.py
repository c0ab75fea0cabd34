"""The command `distill`: arguments in, the pipeline's work and an exit code out.

Exit codes: 0 done and passed, 1 the gate closed, 2 the recipe or its input is wrong, 3 a stage failed,
130 interrupted (the same command goes on). Heavy modules are imported where they are used, so that `distill --help`
answers at once.
"""

import contextlib
import json
import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
from typer._click.exceptions import ClickException

from distill import __version__
from distill.errors import DistillError, GateClosed, InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a reasoning teacher's traces to a small student that may be released.",
)

RecipeArg = Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, such as student.seed=1.")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="The folder of all runs.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, all else on standard error.")
]
RunArg = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in ./runs.")]


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    try:
        code = app(standalone_mode=False)  # typer turns Ctrl-C into a code that it returns
        if code == 130:
            raise KeyboardInterrupt
        sys.exit(code or 0)
    except DistillError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or 'on the disk'}; what is sealed is kept", 3)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; the same command goes on from here", 130)
    except Exception as error:
        if isinstance(error, ClickException):
            _fail(error.format_message(), 2)
        if "No space left on device" in str(error):  # safetensors and arrow tell it in errors of their own
            _fail("No space left on device; what is sealed is kept, and the same command goes on", 3)
        traceback.print_exc()
        _fail("this should not have happened; the lines above say where it did", 3)


def _fail(message: str, exit_code: int) -> None:
    print(f"distill: {message}", file=sys.stderr)
    sys.exit(exit_code)


def _travel(
    recipe: str,
    until: str | None,
    overrides: list[str] | None,
    runs: Path,
    as_json: bool,
    *,
    adopt: bool = False,
) -> None:
    from distill import pipeline, processes
    from distill.recipe import load
    from distill.report import write
    from distill.run import STAGES, Run
    from distill.views import summary

    _quiet()
    if processes.rank() > 0 and not processes.called():
        return
    loaded = load(recipe, tuple(overrides or ()))
    run = Run(runs / loaded.name)
    if processes.rank() > 0:
        pipeline.join(loaded, run)
        return
    stream = sys.stderr if as_json else sys.stdout
    failed: DistillError | None = None
    try:
        with contextlib.redirect_stdout(stream):
            pipeline.travel(loaded, run, until, lambda line: print(line, flush=True), adopt=adopt)
    except DistillError as error:
        failed = error
    if isinstance(failed, GateClosed) or (failed is None and until in (None, "gate", "release")):
        summary(run, stream)
        print(f"report: {write(run)}", file=stream)
    if as_json:
        stages = {stage: run.manifest(stage) for stage in STAGES}
        said = {"run": str(run.root), "error": str(failed) if failed else None, "stages": stages}
        print(json.dumps(said, ensure_ascii=False))
    if failed is not None:
        raise failed


def _quiet() -> None:
    """The libraries' bars and hints off; ours say what there is to say."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@app.command()
def run(
    recipe: RecipeArg,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    overrides: SetOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """Runs a recipe: every stage that is not done yet."""
    _travel(recipe, until, overrides, runs, as_json)


def _stage(name: str, text: str) -> None:
    def command(
        recipe: RecipeArg, overrides: SetOption = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False
    ) -> None:
        _travel(recipe, name, overrides, runs, as_json)

    app.command(name, help=text)(command)


_stage("problems", "Runs a recipe up to its problems.")
_stage("curate", "Runs a recipe up to the kept traces.")
_stage("train", "Runs a recipe up to the trained student.")
_stage("gate", "Runs a recipe up to the gate.")


@app.command()
def release(
    recipe: RecipeArg,
    overrides: SetOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over a Hub repository that distill did not make.")
    ] = False,
) -> None:
    """Runs a recipe up to the release."""
    _travel(recipe, "release", overrides, runs, as_json, adopt=adopt)


@app.command()
def sample(
    recipe: RecipeArg,
    overrides: SetOption = None,
    runs: RunsOption = Path("runs"),
    as_json: JsonOption = False,
    estimate: Annotated[
        int | None, typer.Option(metavar="N", help="Ask for N problems only, and say what all of them will cost.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Sample part I of N, beside other processes on the same run.")
    ] = None,
) -> None:
    """Runs a recipe up to its traces."""
    if estimate is None and shard is None:
        _travel(recipe, "sample", overrides, runs, as_json)
        return
    from distill import pipeline
    from distill.recipe import load
    from distill.run import Run

    _quiet()
    loaded = load(recipe, tuple(overrides or ()))
    run = Run(runs / loaded.name)
    with contextlib.redirect_stdout(sys.stderr if as_json else sys.stdout):
        facts = pipeline.sample_some(loaded, run, lambda line: print(line, flush=True), shard=shard, pilot=estimate)
    if as_json:
        print(json.dumps({"run": str(run.root), **facts}, ensure_ascii=False))


@app.command()
def lint(
    recipe: RecipeArg, overrides: SetOption = None, runs: RunsOption = Path("runs"), as_json: JsonOption = False
) -> None:
    """Says in seconds what would spoil the training: template, stop token, lengths, learning rate and more."""
    from dataclasses import asdict

    from distill import train_stage
    from distill.recipe import load
    from distill.run import Run

    _quiet()
    loaded = load(recipe, tuple(overrides or ()))
    findings = train_stage.lint(loaded, Run(runs / loaded.name))
    print(json.dumps(asdict(findings), ensure_ascii=False) if as_json else "\n".join(findings.lines()))
    if findings.of("error"):
        raise typer.Exit(InputError.exit_code)


@app.command()
def show(
    recipe: RecipeArg,
    overrides: SetOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each key means.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Shows the resolved recipe, and where each value came from."""
    from distill.recipe import load, read
    from distill.views import explained

    loaded = load(recipe, tuple(overrides or ()))
    if as_json:
        print(json.dumps(loaded.model_dump(mode="json"), ensure_ascii=False))
        return
    sources = (read(recipe), [override.partition("=")[0] for override in overrides or ()])
    print("\n".join(explained(loaded, *sources, texts=explain)))


@app.command()
def peek(
    run: RunArg,
    stage: Annotated[str, typer.Argument(help="problems, traces, failed, kept or dropped.")],
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many records.")] = 3,
    reason: Annotated[str | None, typer.Option(help="Only those dropped for this reason.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Looks at the records of a stage."""
    from distill.views import records_of

    for record, text in records_of(_run(run), stage, limit, reason):
        print(json.dumps(record, ensure_ascii=False) if as_json else text)


@app.command()
def status(run: RunArg, as_json: JsonOption = False) -> None:
    """Says which stages of a run are done."""
    from distill.run import STAGES
    from distill.views import summary, traces_so_far

    found = _run(run)
    manifests = {stage: found.manifest(stage) for stage in STAGES}
    if as_json:
        print(json.dumps({"run": str(found.root), "stages": manifests}, ensure_ascii=False))
        return
    for stage, manifest in manifests.items():
        state = f"done {manifest['sealed']}, {manifest['seconds']} s" if manifest else "not done"
        if stage == "sample" and not manifest and (count := traces_so_far(found)):
            state = f"not done, {count:,} traces so far"
        print(f"{STAGES[stage]:11} {state}")
    if manifests["gate"]:
        summary(found, sys.stdout)


@app.command()
def report(run: RunArg) -> None:
    """Writes a run's report: one HTML page that needs nothing else."""
    from distill.report import write

    print(write(_run(run)))


@app.command()
def leaderboard(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUNS]...", help="Runs or release folders; all of ./runs if none.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="ROW", help="Hold the others against this row, not the best.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals and comparisons.")] = 0.95,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page, too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compares releases and baselines in one table, and marks what differs significantly."""
    from distill.leaderboard import board, gated
    from distill.run import write_text

    sources = [_place(run) for run in runs] if runs else gated(Path("runs"))
    table = board(sources, confidence, reference)
    if html is not None:
        write_text(html, table.html())
    if as_json:
        print(json.dumps(table.json(), ensure_ascii=False))
    else:
        table.text(sys.stdout)


@app.command()
def tasks(as_json: JsonOption = False) -> None:
    """Lists the gate's tasks: what each asks, from where, and under which licence."""
    from evals.catalogue import catalogue, lines

    found = catalogue()
    print(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines(found)))


@app.command()
def power(recipe: RecipeArg, overrides: SetOption = None, as_json: JsonOption = False) -> None:
    """Says what a recipe's gate can tell, before anything is measured: its chances, and how many problems it needs."""
    from dataclasses import asdict

    from distill.recipe import load
    from evals.benchmarks import sizes
    from evals.power import forecast, lines

    gate = load(recipe, tuple(overrides or ())).gate
    found = forecast(gate, sizes(gate.tasks))
    print(json.dumps([asdict(one) for one in found]) if as_json else "\n".join(lines(found)))


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="The new recipe's name; NAME.yaml is written here.")],
    like: Annotated[str, typer.Option("--from", help="The shipped recipe to start from.")] = "quickstart",
) -> None:
    """Writes a recipe of your own from a shipped one."""
    from distill.recipe import HERE, shipped

    target = Path(f"{name}.yaml")
    if like not in shipped():
        raise InputError(f"--from {like!r} is no shipped recipe; write one of {', '.join(shipped())}")
    if target.exists():
        raise InputError(f"{target} is there already; choose another name")
    lines = (HERE / "recipes" / f"{like}.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text(
        "".join(f"name: {name}\n" if line.startswith("name:") else line for line in lines), encoding="utf-8"
    )
    print(f"wrote {target}; look at it with `distill show {target} --explain`, run it with `distill run {target}`")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Says what this machine can do."""
    from distill.views import machine

    facts: dict[str, Any] = machine()
    print(json.dumps(facts) if as_json else "\n".join(f"{name:18} {value}" for name, value in facts.items()))


@app.command()
def chat(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, as for peek; or a model folder, say of a release.")],
    seed: Annotated[int, typer.Option(min=0, help="For what is drawn.")] = 0,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest thinking and answer, instead of the gate's.")
    ] = None,
) -> None:
    """Talks to a run's student, its thinking dimmed; piped questions, a line each, get plain answers."""
    from distill.chat import of_folder, of_run, talk

    _quiet()
    found = _found(run)
    talk(of_folder(run) if found is None else of_run(found), seed, max_tokens)


@app.command()
def version() -> None:
    """Says which distill this is."""
    print(__version__)


def _place(run: Path) -> Path:
    """A run's or a release's folder; a name in ./runs, too."""
    return run if run.exists() else Path("runs") / run


def _run(name: str) -> Any:
    found = _found(name)
    if found is None:
        raise InputError(f"there is no run {name!r}: neither {name}/recipe.json nor runs/{name}/recipe.json is there")
    return found


def _found(name: str) -> Any:
    """The run of this name, or None."""
    from distill.run import Run

    return next((Run(root) for root in (Path(name), Path("runs") / name) if (root / "recipe.json").exists()), None)


if __name__ == "__main__":
    main()
