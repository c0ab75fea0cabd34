"""From what was answered to what is scored: k texts per document in, one mark per text and their means out.

Two ways lead there. A gate run judges with the verifier that it is given (`judge_with`, then `count_marks`). The YAML
tasks on their own, under lm-eval's own command and any of its models, have no verifier: `keep_all`, then
`process_results`, which compares texts and nothing more.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from distill import shards, think
from distill.answers import boxed
from distill.records import Completion, Problem, Verifier

RIGHT, WRONG, UNFINISHED, UNVERIFIED = "right", "wrong", "unfinished", "unverified"
Filter = Callable[[Sequence[Sequence[str]], Sequence[dict[str, Any]]], list[list[str]]]


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
    """The filter of a gate run: packed completions to marks, all of a task's answers judged in one call.

    An unfinished completion is not judged at all, whatever number its reasoning happens to end on.
    """

    def judged(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
        marks = [[UNFINISHED] * len(texts) for texts in resps]
        places, answers = [], []
        for row, (texts, doc) in enumerate(zip(resps, docs, strict=True)):
            problem = problem_of(doc)
            for at, text in enumerate(texts):
                completion = unpack(text)
                if not completion.unfinished:
                    places.append((row, at))
                    answers.append((problem, completion.answer))
        for (row, at), judgement in zip(places, verifier(answers), strict=True):
            marks[row][at] = {True: RIGHT, False: WRONG, None: UNVERIFIED}[judgement.right]
        return marks

    return judged


def count_marks(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """One document's marks to its metrics; only `right` counts as right."""
    marks = list(results[0])
    share = {mark: marks.count(mark) / len(marks) for mark in (RIGHT, UNFINISHED, UNVERIFIED)}
    return {
        "avg_at_k": share[RIGHT],
        "pass_at_k": float(RIGHT in marks),
        UNFINISHED: share[UNFINISHED],
        UNVERIFIED: share[UNVERIFIED],
    }


def keep_all(resps: Sequence[Sequence[str]], docs: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The filter of the YAML tasks: every repeat stays (lm-eval's default keeps the first alone)."""
    return [list(texts) for texts in resps]


def process_results(doc: dict[str, Any], results: Sequence[Sequence[str]]) -> dict[str, float]:
    """The YAML tasks' own scoring: the last boxed text, or the whole answer, equals the reference but for spaces.

    It knows no mathematics (1/2 is not 0.5 here) and no rules: answers of kind `rule` come out as unverified. The gate
    never uses it. The texts must come whole, with `</think>` in them: a text without any tag counts as an answer.
    """
    return count_marks(doc, [[_compare(problem_of(doc), text) for text in results[0]]])


def _compare(problem: Problem, text: str) -> str:
    thought = think.split(text)
    if not thought.closed:
        return UNFINISHED
    if problem.answer_kind == "rule":
        return UNVERIFIED
    said = (boxed(thought.answer) or [thought.answer])[-1]
    return RIGHT if "".join(said.split()).strip("()") == "".join(problem.answer.split()).strip("()") else WRONG


def _meta_as_text(row: dict[str, Any]) -> dict[str, Any]:
    """lm-eval may hand a document's JSON on already read; `from_row` wants `meta` as text."""
    meta = row["meta"]
    return row if isinstance(meta, str) else {**row, "meta": json.dumps(meta)}
