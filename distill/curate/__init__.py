"""Which traces reach the student: traces in, each with its verdict out, in order and streamed.

The first reason that applies is the one that is told. They are tried in the order of `records.REASONS`, and the
cheap ones before the verifier; a later duplicate of a trace that was dropped is judged on its own.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from distill.curate import quality
from distill.curate.decontaminate import Index
from distill.curate.dedupe import Seen
from distill.records import Judgement, Trace, Verdict, Verifier
from distill.sections import Curate

__all__ = ["Index", "curate"]

_CHUNK = 256


def curate(
    traces: Iterable[Trace], section: Curate, verifier: Verifier, index: Index
) -> Iterator[tuple[Trace, Verdict]]:
    """Every trace once, with its verdict. Raises what the verifier raises."""
    seen = Seen()
    rest = iter(traces)
    while chunk := list(islice(rest, _CHUNK)):
        verdicts = [_by_form(trace, section) or _by_target(trace, index) for trace in chunk]
        if section.verify:
            _verify(chunk, verdicts, verifier)
        for trace, verdict in zip(chunk, verdicts, strict=True):
            yield trace, verdict or _by_company(trace, seen)


def _by_form(trace: Trace, section: Curate) -> Verdict | None:
    checks = (
        ("unfinished", quality.unfinished(trace)),
        ("no_answer", quality.no_answer(trace)),
        ("api_error", quality.api_error(trace)),
        ("format", quality.bad_format(trace)),
        ("too_long", quality.too_long(trace, section.max_tokens)),
    )
    return next((Verdict(False, reason, detail) for reason, detail in checks if detail is not None), None)


def _verify(chunk: list[Trace], verdicts: list[Verdict | None], verifier: Verifier) -> None:
    """Judges, in one call, what is not dropped yet, and enters what it drops into `verdicts`."""
    alive = [at for at, verdict in enumerate(verdicts) if verdict is None]
    judged = verifier([(chunk[at].problem, chunk[at].completion.answer) for at in alive])
    for at, judgement in zip(alive, judged, strict=True):
        verdicts[at] = _by_answer(judgement)


def _by_answer(judgement: Judgement) -> Verdict | None:
    if judgement.right is None:
        return Verdict(False, "unverifiable", judgement.detail)
    return None if judgement.right else Verdict(False, "wrong_answer", judgement.detail)


def _by_target(trace: Trace, index: Index) -> Verdict | None:
    shared = index.find(trace.problem.prompt)
    return None if shared is None else Verdict(False, "contaminated", f"{shared[0]}: {shared[1][:200]}")


def _by_company(trace: Trace, seen: Seen) -> Verdict:
    first = seen.again(trace)
    return Verdict(True) if first is None else Verdict(False, "duplicate", f"the same as {first}")
