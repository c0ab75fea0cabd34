"""`distill chat`: a run's student in a terminal, the thinking dimmed."""

import itertools
import json

from distill.errors import InputError
from distill.records import Failure, Request, Sampling, asked
from distill.run import Run


def talk(run: Run) -> None:
    """Reads questions until an empty line; raises InputError for a run that has no gated student yet."""
    from rich.console import Console
    from rich.text import Text

    from distill.engines.local import load

    folder = run.folder("gate") / "merged"
    if not folder.exists():
        raise InputError(f"{run.root} has no merged student yet; `distill gate` makes it")
    recipe = json.loads((run.root / "recipe.json").read_text(encoding="utf-8"))
    engine = load(str(folder), revision=None, quantization="none", batch_size=1, trust_remote_code=False)
    console, sampling = Console(), Sampling(**recipe["gate"]["sampling"])
    for turn in itertools.count():
        question = console.input("[bold]> [/bold]").strip()
        if not question:
            return
        for _, came in engine.complete([Request(f"chat#{turn}", asked(question), turn, sampling)]):
            if isinstance(came, Failure):
                console.print(Text(came.message, style="red"))
                continue
            console.print(Text(came.reasoning, style="dim"))
            console.print(Text(came.answer or "(the thinking did not come to an end)"))
