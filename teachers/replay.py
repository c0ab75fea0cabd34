"""An existing trace data set as if it were a teacher: takes its section of the recipe, gives traces row by row."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from distill import think
from distill.answers import reference_answer
from distill.errors import InputError
from distill.records import Completion, Problem, Sampling, Trace
from distill.tables import Row, read_rows, text_of
from distill.teacher_sections import ReplayTeacher


class _BadRow(Exception):
    """A row that cannot be a trace: what it lacks, and where."""

    def __init__(self, lack: str, where: str) -> None:
        super().__init__(where)
        self.lack = lack


class Replay:
    """A pass over the data set. `rows` and `skipped` (by what the rows lack) are counted while `traces` goes on."""

    def __init__(self, section: ReplayTeacher) -> None:
        self.section = section
        self.rows = 0
        self.skipped: dict[str, int] = {}

    def traces(self) -> Iterator[Trace]:
        """A trace per row; a problem's rows have the seeds 0, 1, 2, …

        Raises InputError for a row without prompt, answer or text, naming its place and column; with
        `skip_bad_rows` such rows are counted, and only a data set without one good row is an error.
        """
        section = self.section
        self.rows, self.skipped = 0, {}
        seeds: Counter[str] = Counter()
        rows = read_rows(section.path, subset=section.subset, split=section.split, revision=section.revision)
        for place, row in islice(rows, section.limit):
            self.rows += 1
            try:
                problem, thought = self._problem(row, place), self._thought(row, place)
            except _BadRow as bad:
                if not section.skip_bad_rows:
                    raise InputError(f"{bad}; write skip_bad_rows: true to leave such rows out") from bad
                self.skipped[bad.lack] = self.skipped.get(bad.lack, 0) + 1
                continue
            yield self._trace(problem, thought, seeds[problem.id])
            seeds[problem.id] += 1
        if not seeds:
            why = ", ".join(f"{count} without {lack}" for lack, count in self.skipped.items()) or "it is empty"
            raise InputError(f"{section.path} holds no trace in {self.rows} rows: {why}")

    def _problem(self, row: Row, place: str) -> Problem:
        columns = self.section.columns
        prompt = self._cell(row, columns.prompt, place, "prompt")
        answer = ""
        if columns.answer is not None:
            answer = reference_answer(self._cell(row, columns.answer, place, "answer"))
            if not answer:
                raise _BadRow("answer", f"{place}: no answer can be read from the column {columns.answer!r}")
        return Problem.of(prompt, answer, self.section.answer_kind, self.section.path)

    def _thought(self, row: Row, place: str) -> think.Thought:
        columns = self.section.columns
        if columns.text is not None:
            return think.split(self._cell(row, columns.text, place, "text"))
        reasoning, answer = (
            self._cell(row, str(column), place, "text", empty=True)
            for column in (columns.reasoning, columns.answer_text)
        )
        if not reasoning and not answer:
            raise _BadRow("text", f"{place}: the columns {columns.reasoning!r} and {columns.answer_text!r} are empty")
        bare = reasoning.removeprefix(think.OPEN).removesuffix(think.CLOSE).strip()
        return think.read_message({"reasoning": bare, "content": answer})

    def _cell(self, row: Row, column: str, place: str, lack: str, *, empty: bool = False) -> str:
        if column not in row and self.section.skip_bad_rows:
            raise _BadRow(lack, f"{place}: there is no column {column!r}")
        text = text_of(row, column, place).strip()
        if not text and not empty:
            raise _BadRow(lack, f"{place}: the column {column!r} is empty")
        return text

    def _trace(self, problem: Problem, thought: think.Thought, seed: int) -> Trace:
        model = self.section.model
        completion = Completion(thought.reasoning, thought.answer, "stop", None, None, model, thought.clean)
        return Trace(
            id=Trace.name(problem, seed),
            problem=problem,
            completion=completion,
            teacher=model,
            seed=seed,
            sampling=Sampling(),
            cost_usd=None,
            created="",
            seconds=0.0,
        )
