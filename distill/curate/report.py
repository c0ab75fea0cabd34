"""What curation tells the person: how far it is while it works, and at the end a table and what to do about it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

EVERY_S = 10.0

ADVICE = {
    "unfinished": "raise teacher.sampling.max_tokens, so that the teacher comes to its end",
    "no_answer": "look at what the teacher sent; a replay may need other columns",
    "api_error": "sample again: a server answered with errors",
    "no_reasoning": "check that the server keeps the reasoning (for vLLM --reasoning-parser)",
    "broken_tags": "look at them; a replay may need other columns",
    "special_tokens": "look at them: the server or the data set left control tokens in the text",
    "too_short": "lower curate.min_tokens",
    "too_long": "raise curate.max_tokens, and student.max_tokens with it",
    "code": "write curate.quality.code: keep if code belongs to these problems",
    "long_paragraph": "raise curate.quality.paragraph_words",
    "repetition": "raise teacher.sampling.temperature (0.6 is R1's), or curate.quality.repetition",
    "mixed_language": "look at them; raise curate.quality.foreign if the languages belong there",
    "contaminated": "take other problems: these are the ones that the gate tests on",
    "wrong_answer": "look at them: are the reference answers right, and is answer_kind? Else try a stronger teacher",
    "unverifiable": "look at them: the reference answers may not be of the stated answer_kind; or add curate.judge",
    "judge_failed": "look at what the judge replied; a larger curate.judge.sampling.max_tokens may help",
    "duplicate": "raise teacher.sampling.temperature, or take the doubled rows out of the data set",
    "near_duplicate": "raise curate.duplicates.near_problems or near_reasoning towards 1",
    "off_difficulty": "widen curate.select.pass_rate",
    "enough_for_problem": "raise curate.select.per_problem",
    "off_mix": "raise curate.select.long_share or long_tokens, or add problems with short solutions",
    "off_balance": "raise curate.select.source_share, or add problems of other sources",
    "over_budget": "raise curate.select.max_total_tokens",
}
"""What to do where a filter ate too much, by reason."""


@contextmanager
def bar(what: str, total: int, say: Callable[[str], None]) -> Iterator[Callable[[int], None]]:
    """Gives a function that takes how many more are done: a bar at a terminal, elsewhere a line now and then."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stdout), transient=True) as shown:
            task = shown.add_task(what, total=total)
            yield lambda more: shown.advance(task, more)
        return
    began = told = time.monotonic()
    done = 0

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told > EVERY_S:
            told = now
            say(f"  {what}: {done:,} of {total:,}, {done / (now - began):,.0f}/s")

    yield tell


def table(facts: Mapping[str, Any], warn_share: float) -> list[str]:
    """The lines at the end: read, dropped by reason, kept, tokens; what the contaminated were found in; and what to do
    where one reason took more than `warn_share` of the traces."""
    read = facts["read"]
    lines = [f"  {'read':20}{read:>9,}"]
    lines += [f"  {reason:20}{count:>9,}  {count / read:6.1%}" for reason, count in facts["dropped"].items()]
    lines.append(f"  {'kept':20}{facts['kept']:>9,}  {_share(facts['kept'], read):6.1%}  {facts['tokens']:,} tokens")
    for task, stages in facts["by_task"].items():
        found = ", ".join(f"{count:,} by {stage}" for stage, count in stages.items())
        lines.append(f"  found in {task}: {found}")
    for reason, count in facts["dropped"].items():
        if count > warn_share * read:
            lines.append(f"  {reason} took {count / read:.0%} of the traces: {ADVICE[reason]}")
    return lines


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
