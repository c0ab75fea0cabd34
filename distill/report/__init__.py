"""A run's report: takes a run's folder, leaves one HTML page in it that needs nothing else and runs nothing.

Every part shows what is there already, and says what is not there yet. Text of models is shown as text
(`distill.pages`). The page is at most some 12 MB, however many answers, tasks and traces there are: answers have bounds
in `distill.report.answers`, tables in `distill.pages`, and pictures are thinned.
"""

from pathlib import Path

from distill import __version__, pages
from distill.pages import Html, element
from distill.report import answers, gate, lengths, numbers, scores, survey
from distill.report.state import State, read
from distill.run import Run, write_text

PARTS = (
    ("road", "The road"),
    ("training", "Training"),
    ("lengths", "Lengths"),
    ("gate", "The gate"),
    ("scores", "Scores"),
    ("answers", "Answers side by side"),
)


def write(run: Run) -> Path:
    """Writes `report.html` into the run's folder, under a temporary name first, and gives its path.

    Raises InputError for a folder that holds no run, and ShardError where what is in it cannot be read.
    """
    target = run.root / "report.html"
    write_text(target, page(read(run)))
    return target


def page(state: State) -> str:
    """The page as text."""
    surveys = survey.survey(state)
    contents = {
        "road": numbers.road(state),
        "training": numbers.training(state),
        "lengths": lengths.lengths(state, surveys),
        "gate": gate.checks(state),
        "scores": scores.scores(state),
        "answers": answers.side_by_side(state, surveys),
    }
    parts = [pages.section(anchor, title, *contents[anchor]) for anchor, title in PARTS]
    links = [element("li", element("a", title, href=f"#{anchor}")) for anchor, title in PARTS]
    head = [element("h1", state.name, element("span", ": report", class_="soft")), *numbers.outcome(state)]
    nav = element("nav", element("ul", *links), aria_label="Parts of the report")
    return pages.page(f"{state.name}: report", [*head, numbers.tiles(state), nav, *parts, _foot(state)])


def _foot(state: State) -> Html:
    return element(
        "footer",
        element("p", f"Written by distill {__version__} from the run's folder {state.root.name}.", class_="soft"),
    )
