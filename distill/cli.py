"""The command `distill`: arguments in, the pipeline's work and an exit code out.

Exit codes: 0 done and passed, 1 the gate closed, 2 the recipe or its input is wrong, 3 a stage failed,
130 interrupted (the same command goes on). Heavy modules are imported where they are used, so that `distill --help`
answers at once. The commands that only look stand in `distill.looks`.
"""

import contextlib
import json
import logging
import os
import select
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer
from typer._click.exceptions import ClickException, UsageError

from distill.errors import DistillError, GateClosed, InputError
from distill.looks import JsonOption, RecipeArg, SetOption, looks, run_or_none

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from distill.run import Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a reasoning teacher's traces to a small student that may be released.",
)

RunsOption = Annotated[Path, typer.Option("--runs", help="The folder of all runs.")]


def main() -> None:
    """Runs the command and ends the process with its exit code."""
    try:
        code = app(standalone_mode=False)  # typer turns Ctrl-C into a code that it returns
        if code == 130:
            raise KeyboardInterrupt
        sys.stdout.flush()
        sys.exit(code or 0)
    except DistillError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail_on_disk(error)
    except SystemExit as ended:  # typer ends a broken pipe with 1, which says here that a gate is closed
        if isinstance(ended.__context__, BrokenPipeError):
            _fail_on_disk(ended.__context__)
        raise
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; the same command goes on from here", 130)
    except Exception as error:
        if isinstance(error, ClickException):
            _fail(f"{error.format_message()}{_see(error)}".lstrip(), 2)
        if "No space left on device" in str(error):  # safetensors and arrow tell it in errors of their own
            _fail("No space left on device; what is sealed is kept, and the same command goes on", 3)
        traceback.print_exc()
        _fail("this should not have happened; the lines above say where it did", 3)


def _see(error: ClickException) -> str:
    """Where to read how a command is called."""
    called = error.ctx if isinstance(error, UsageError) else None
    if called is None:
        return ""
    return f" See `distill{f' {called.info_name}' if called.parent else ''} --help`."


def _fail_on_disk(error: OSError) -> None:
    """What could not be written or read; quietly, with the shell's own code, where `| head` has read enough."""
    if isinstance(error, BrokenPipeError):
        output = select.poll()
        output.register(1, 0)
        if any(happened & select.POLLERR for _, happened in output.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the flush at the end
            sys.exit(141)
    _fail(f"{error.strerror or error}: {error.filename or 'on the disk'}; what is sealed is kept", 3)


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
    from distill.run import STAGES

    _quiet()
    if processes.rank() > 0 and not processes.called():
        return
    loaded = load(recipe, tuple(overrides or ()))
    run = _run_of(loaded, runs)
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
        _tell(run, stream)
    if as_json:
        stages = {stage: run.manifest(stage) for stage in STAGES}
        said = {"run": str(run.root), "error": str(failed) if failed else None, "stages": stages}
        print(json.dumps(said, ensure_ascii=False))
    if failed is not None:
        raise failed


def _run_of(recipe: "Recipe", runs: Path) -> "Run":
    """The recipe's run in the folder of all runs; raises InputError where nothing can be written there."""
    from distill.run import Run

    root = (runs / recipe.name).absolute()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise InputError(f"--runs {runs}: nothing can be written to {there}; write a folder of your own")
    return Run(runs / recipe.name)


def _tell(run: "Run", stream: TextIO) -> None:
    """How the gate ended, and the report. What is done is done: a report that cannot be made fails nothing."""
    from distill.report import write
    from distill.views import summary

    try:
        summary(run, stream)
        print(f"report: {write(run)}", file=stream)
    except (DistillError, OSError) as error:
        print(f"distill: the report of {run.root} cannot be made: {error}", file=sys.stderr)


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
    until: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Stop after problems, sample, curate, train, gate or release.")
    ] = None,
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

    _quiet()
    loaded = load(recipe, tuple(overrides or ()))
    run = _run_of(loaded, runs)
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
    found = run_or_none(run)
    talk(of_folder(run) if found is None else of_run(found), seed, max_tokens)


app.add_typer(looks)

if __name__ == "__main__":
    main()
