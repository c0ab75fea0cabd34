"""From what was answered to what is scored: k texts per document in, one mark per text and their metrics out.

Two ways lead there. A gate run judges with the verifier that it is given (`judge_with`, then `count_marks`). The YAML
tasks on their own, under lm-eval's own command and any of its models, have no verifier: `keep_all`, then
`process_results`, which compares texts by the simple rules of `metrics.plain`. Both give the metrics of
`metrics.METRICS`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from distill import procedural, shards, think
from distill.answers import boxes
from distill.records import Completion, Finish, Problem, Verifier
from distill.tasknames import RG_DIFFICULTY
from evals import metrics, votes
from evals.metrics import RIGHT, UNFINISHED, UNVERIFIED, WRONG, Mark

Filter = Callable[[Sequence[Sequence[str]], Sequence[dict[str, Any]]], list[list[str]]]

_NAMES: dict[bool | None, str] = {True: RIGHT, False: WRONG, None: UNVERIFIED}
_LONG_VOTE = 100  # characters


def pack(completion: Completion) -> str:
    """A completion as the text that lm-eval carries and its samples file keeps."""
    return json.dumps(shards.to_row(completion), ensure_ascii=False)


def unpack(text: str) -> Completion:
    """The inverse of `pack`; raises ShardError where a field is missing."""
    return shards.from_row(Completion, json.loads(text))


def problem_of(document: dict[str, Any]) -> Problem:
    """The problem inside a document of `benchmarks.document`."""
    return shards.from_row(Problem, _meta_as_text(json.loads(document["problem"])))


def judge_with(verifier: Verifier) -> Filter:
    """The filter of a gate run: packed completions to dumped `Mark`s, all of a task's answers judged in one call.

    An unfinished completion is not judged at all, whatever number its reasoning happens to end on.
    """

    def judged(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
        rows = [[unpack(text) for text in texts] for texts in resps]
        marks = [[UNFINISHED] * len(row) for row in rows]
        problems = [problem_of(doc) for doc in docs]
        places = [(at, one) for at, row in enumerate(rows) for one, said in enumerate(row) if not said.unfinished]
        judgements = verifier([(problems[at], rows[at][one].answer) for at, one in places])
        for (at, one), judgement in zip(places, judgements, strict=True):
            marks[at][one] = _NAMES[judgement.right]
        return [
            [mark_of(problem, completion, name).dump() for completion, name in zip(row, names, strict=True)]
            for problem, row, names in zip(problems, rows, marks, strict=True)
        ]

    return judged


def mark_of(problem: Problem, completion: Completion, mark: str) -> Mark:
    """All that the metrics need to know of one completion whose answer to the problem was marked."""
    finished = mark != UNFINISHED
    return Mark(
        mark,
        said=_short(votes.vote(problem, completion.answer)) if finished and mark != RIGHT else "",
        repetition=metrics.loops(completion.reasoning, completion.answer),
        unboxed=finished and (metrics.boxless(completion.answer) or not completion.clean),
    )


def _short(said: str) -> str:
    """Long answers are told apart by a hash, so that the samples file does not hold them twice."""
    return said if len(said) <= _LONG_VOTE else f"{said[:_LONG_VOTE]}… {hashlib.sha256(said.encode()).hexdigest()[:16]}"


def count_marks(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """One document's dumped marks to its metrics; only `right` counts as right."""
    return metrics.measure([Mark.load(text) for text in results[0]])


def keep_all(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The filter of the YAML tasks: every repeat stays (lm-eval's default keeps the first alone)."""
    return [list(texts) for texts in resps]


def process_results(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """The YAML tasks' own scoring: the final answer equals the reference by `metrics.plain`.

    It knows hardly any mathematics, so that it scores too low where formulas may be written in several ways; who is a
    knight is read from plain sentences only, and of the other rules it knows those of the suite's procedural tasks.
    What it does not know comes out as unverified. The gate never uses it. The texts must come whole, with `</think>`
    in them: a text without any tag is an answer, unless the document says that the prompt opened the thinking.
    """
    problem = problem_of(doc)
    marks = []
    for text in results[0]:
        thought = think.split(text, opened=doc["opened"])
        finish: Finish = "stop" if thought.closed else "length"
        completion = Completion(thought.reasoning, thought.answer, finish, None, None, "", thought.clean)
        mark = UNFINISHED if completion.unfinished else _compare(problem, thought.answer)
        marks.append(mark_of(problem, completion, mark))
    return metrics.measure(marks)


def _compare(problem: Problem, answer: str) -> str:
    answer = answer[-votes.LONGEST :]
    right: bool | None
    match (problem.answer_kind, problem.meta.get("rule")):
        case ("rule", "knights_knaves"):
            right = _knights(problem.meta["solution"], answer)
        case ("rule", "reasoning_gym") if problem.meta["family"] in RG_DIFFICULTY:
            stated = [box.text for box in boxes(answer).joined] or answer.splitlines()[-1:]
            right = any(procedural.score(problem.meta, _unwrapped(text)) >= 1 for text in stated)
        case ("rule", _):
            right = None
        case _:
            right = votes.vote(problem, answer) == metrics.plain(problem.answer)
    return _NAMES[right]


def _knights(solution: dict[str, bool], answer: str) -> bool | None:
    """Whether the last plain sentence on each is right; None where one has none and no other is wrong."""
    told = votes.knights(solution, answer)
    if any(told[name] not in (None, knight) for name, knight in solution.items()):
        return False
    return None if None in told.values() else True


def _unwrapped(text: str) -> str:
    return re.sub(r"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}", r"\1", text).strip()


def _meta_as_text(row: dict[str, Any]) -> dict[str, Any]:
    """lm-eval may hand a document's JSON on already read; `from_row` wants `meta` as text."""
    meta = row["meta"]
    return row if isinstance(meta, str) else {**row, "meta": json.dumps(meta)}
