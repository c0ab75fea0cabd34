"""The leaderboard: each model once, marks only where chance does not explain a difference, and nothing compared that
was drawn in another way."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from distill import shards
from distill.errors import InputError, ShardError
from distill.leaderboard import Board, board, compare, gated
from distill.records import Check, GateReport, Score
from distill.run import write_json
from distill.statistics import Difference
from tests.browser import dom, hostile, strange, title, visits
from tests.made_run import Made, make

GSM, LOGIC = "distill_gsm8k", "distill_bbh_logic"
Marks = Sequence[float]


def score(task: str, marks: Marks, k: int = 1, first: int = 0, **changed: Any) -> Score:
    """A score of problems p<first> and on, with these shares of right answers."""
    by_problem = {f"p{first + at}": mark for at, mark in enumerate(marks)}
    usual = Score(
        task, "math", f"avg@{k}", fmean(marks), 0.01, len(marks), k, 0.0, by_problem, False, planned=len(marks)
    )
    return replace(usual, **changed)


def shares(right: int, of: int = 100) -> list[float]:
    return [1.0] * right + [0.0] * (of - right)


@dataclass(frozen=True)
class Told:
    """A run's gate: scores of its student and its base."""

    student: Sequence[Score]
    base: Sequence[Score]
    max_tokens: int = 4096
    base_name: str = "org/base"


def run(root: Path, told: Told, *, inside: str = "", **others: Sequence[Score]) -> Path:
    """A run's folder, or with `inside` a release's, whose name is the run's."""
    check = Check(GSM, "floor", 0.9, 0.8, 0.7, "pass", "why", 0.8, 0.95)
    baselines = {"base": tuple(told.base), **{name: tuple(scores) for name, scores in others.items()}}
    report = GateReport("4-student/model", "bf16", tuple(told.student), baselines, (check,), 0.95)
    write_json(root / inside / "5-gate" / "reports.json", [shards.to_row(report)])
    sampling = {"temperature": 0.6, "top_p": 0.95, "max_tokens": told.max_tokens}
    recipe = {"name": root.name, "gate": {"sampling": sampling}, "student": {"base": told.base_name}}
    write_json(root / inside / ("inner" if inside else "") / "recipe.json", recipe)
    return root


def text(shown: Board) -> str:
    stream = io.StringIO()
    shown.text(stream)
    return stream.getvalue()


def names(shown: Board) -> list[str]:
    return [row.name for row in shown.rows]


def told(shown: Board, row: str, task: str = GSM) -> dict[str, Any]:
    found = next(one for one in shown.json()["rows"] if one["name"] == row)
    scores: dict[str, Any] = found["scores"][task]
    return scores


BASE = [score(GSM, shares(40)), score(LOGIC, shares(30))]
STUDENT = [score(GSM, shares(80)), score(LOGIC, shares(33))]


def test_a_student_far_above_its_base_is_marked_and_one_as_good_is_not(tmp_path: Path) -> None:
    shown = board([run(tmp_path / "a", Told(STUDENT, BASE))], 0.95)
    assert names(shown) == ["a bf16", "org/base"]
    above = told(shown, "a bf16")["against_base"]
    assert above["significant"] and above["paired"] and above["with"] == "org/base"
    assert above["mean"] == pytest.approx(0.4) and above["low"] < 0.4 < above["high"]
    assert not told(shown, "a bf16", LOGIC)["against_base"]["significant"]
    assert told(shown, "a bf16")["low"] < 0.8 < told(shown, "a bf16")["high"]
    lines = text(shown)
    assert "80.0 best >base" in lines and "40.0 <best" in lines and "33.0 best\n" in lines.replace(" \n", "\n")


def test_the_same_base_measured_in_two_runs_is_one_row(tmp_path: Path) -> None:
    both = [run(tmp_path / name, Told(STUDENT, BASE)) for name in ("a", "b")]
    shown = board(both, 0.95)
    assert sorted(names(shown)) == ["a bf16", "b bf16", "org/base"]
    assert "base of a, b" in text(shown)


def test_a_base_measured_on_more_tasks_elsewhere_is_one_row_with_all_of_them(tmp_path: Path) -> None:
    sources = [run(tmp_path / "a", Told(STUDENT, BASE)), run(tmp_path / "b", Told(STUDENT[:1], BASE[:1]))]
    shown = board(sources[::-1], 0.95)
    assert sorted(names(shown)) == ["a bf16", "b bf16", "org/base"]
    assert told(shown, "org/base", LOGIC)["value"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    "other",
    [
        Told(STUDENT, [score(GSM, shares(41)), BASE[1]]),
        Told(STUDENT, BASE, max_tokens=8192),
        Told(STUDENT, [score(GSM, shares(40), k=2), BASE[1]]),
    ],
    ids=["other results", "other limit", "other k"],
)
def test_a_base_measured_otherwise_is_a_row_of_its_own_and_each_student_has_its_own(
    tmp_path: Path, other: Told
) -> None:
    shown = board([run(tmp_path / "a", Told(STUDENT, BASE)), run(tmp_path / "b", other)], 0.95)
    assert sorted(names(shown)) == ["a bf16", "b bf16", "org/base", "org/base (b)"]
    assert {row.name: row.base for row in shown.rows if row.kind == "student"} == {
        "a bf16": "org/base",
        "b bf16": "org/base (b)",
    }


def test_bases_of_one_name_that_share_no_task_are_not_taken_for_one(tmp_path: Path) -> None:
    sources = [
        run(tmp_path / "a", Told(STUDENT[:1], BASE[:1])),
        run(tmp_path / "b", Told(STUDENT[1:], BASE[1:])),
    ]
    assert len(board(sources, 0.95).rows) == 4


def test_a_run_and_its_own_release_are_one(tmp_path: Path) -> None:
    source = run(tmp_path / "runs" / "a", Told(STUDENT, BASE))
    release = run(tmp_path / "out" / "a", Told(STUDENT, BASE), inside="lineage")
    assert names(board([source, release, source], 0.95)) == ["a bf16", "org/base"]
    assert names(board([release], 0.95)) == ["a bf16", "org/base"]


def test_all_runs_of_a_folder_that_have_a_gate_are_found(tmp_path: Path) -> None:
    run(tmp_path / "runs" / "b", Told(STUDENT, BASE))
    run(tmp_path / "runs" / "a", Told(STUDENT, BASE))
    write_json(tmp_path / "runs" / "new" / "recipe.json", {})
    (tmp_path / "runs" / ".scores").mkdir()
    assert [path.name for path in gated(tmp_path / "runs")] == ["a", "b"]
    assert gated(tmp_path / "nowhere") == []


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run whose gate has judged"):
        board([], 0.95)
    write_json(tmp_path / "new" / "recipe.json", {})
    with pytest.raises(InputError, match="new has no gate's reports"):
        board([tmp_path / "new"], 0.95)
    source = run(tmp_path / "a", Told(STUDENT, BASE))
    with pytest.raises(InputError, match="'b' is no row of the board; write one of a bf16, org/base"):
        board([source], 0.95, "b")
    with pytest.raises(InputError, match="confidence"):
        board([source], 95.0)
    for broken in ("{", "[1]", "[{}]", "null", "[]", "\udcff"):
        (source / "5-gate" / "reports.json").write_text(broken, errors="surrogateescape")
        with pytest.raises(ShardError):
            board([source], 0.95)


@pytest.mark.parametrize("value", [1.5, -0.1, float("nan")])
def test_a_score_that_cannot_be_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ShardError, match="not between 0 and 1"):
        board([run(tmp_path / "a", Told([score(GSM, [value, 1.0])], BASE[:1]))], 0.95)


def test_scores_under_another_limit_are_shown_and_noted_but_compared_with_none(tmp_path: Path) -> None:
    sources = [run(tmp_path / name, Told(STUDENT, BASE)) for name in ("a", "b")]
    longer = run(tmp_path / "c", Told([score(GSM, shares(99))], [score(GSM, shares(50))], max_tokens=32768))
    shown = board([*sources, longer], 0.95)
    cell = told(shown, "c bf16")
    assert cell["value"] == pytest.approx(0.99) and cell["against_reference"] is None and not cell["is_reference"]
    assert cell["against_base"]["significant"]  # its own base was drawn as it was
    assert any("32,768 tokens" in note and "compared with none" in note for note in cell["notes"])
    assert told(shown, "a bf16")["is_reference"] or told(shown, "b bf16")["is_reference"]
    assert "99.0 >base [1]" in text(shown) and "[1] at most 32,768 tokens" in text(shown)


def test_fewer_samples_other_problems_and_early_ends_are_noted(tmp_path: Path) -> None:
    sources = [run(tmp_path / name, Told(STUDENT, BASE)) for name in ("a", "b")]
    cases = {
        "k": score(GSM, shares(80), k=4),
        "early": score(GSM, shares(40, 50), planned=100),
        "other": score(GSM, shares(80), first=500),
        "smoke": score(GSM, shares(10, 10), smoke=True, planned=10),
    }
    odd = [run(tmp_path / name, Told([one], BASE[:1])) for name, one in cases.items()]
    shown = board([*sources, *odd], 0.95)
    notes = {name: told(shown, f"{name} bf16")["notes"] for name in cases}
    assert notes["k"] == ["k is 4, where others have 1"]
    assert notes["early"][0] == "50 of the others' 100 problems" and "ended after 50 of 100" in notes["early"][1]
    assert notes["other"] == ["100 problems, among them 0 of the others' 100 problems"]
    assert "a smoke run, on the first problems alone" in notes["smoke"]
    assert told(shown, "a bf16")["notes"] == []
    assert (
        not told(shown, "other bf16")["against_base"]["paired"] and told(shown, "early bf16")["against_base"]["paired"]
    )
    assert all(not told(shown, f"{name} bf16")["is_reference"] for name in cases)


def test_a_chosen_reference_is_what_the_others_are_held_against(tmp_path: Path) -> None:
    shown = board([run(tmp_path / "a", Told(STUDENT, BASE))], 0.95, "org/base")
    assert told(shown, "a bf16")["against_reference"]["mean"] == pytest.approx(0.4)
    assert "80.0 >ref >base" in text(shown) and "40.0 ref" in text(shown)
    assert shown.json()["correction"]["comparisons_with_reference"] == 2


def _stub(p_values: Mapping[float, float]) -> Any:
    """A difference whose p-value is known by the first score's value."""

    def difference(one: Score, other: Score, confidence: float) -> Difference:
        return Difference(-0.1, -0.2, 0.0, p_values[round(one.value, 2)] < 1 - confidence, True)

    return difference


@pytest.mark.parametrize(
    ("p_values", "marked"),
    [
        ((0.001, 0.02, 0.04), 3),  # 0.05/3, 0.05/2, 0.05/1
        ((0.001, 0.03, 0.04), 1),  # the second is above 0.05/2: it and all after it stay
        ((0.02, 0.02, 0.02), 0),  # each alone is below 0.05, none below 0.05/3
        ((0.01, 0.01, 0.06), 2),
    ],
)
def test_many_comparisons_are_corrected_as_holm_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, p_values: tuple[float, ...], marked: int
) -> None:
    values = (0.5, 0.6, 0.7)
    sources = [
        run(tmp_path / f"r{at}", Told([score(GSM, shares(int(100 * value)))], [score(GSM, shares(90))]))
        for at, value in enumerate(values)
    ]
    monkeypatch.setattr(compare, "difference", _stub(dict(zip(values, p_values, strict=True))))
    shown = board(sources, 0.95, "org/base")
    assert shown.json()["correction"]["comparisons_with_reference"] == 3
    assert sum(told(shown, f"r{at} bf16")["against_reference"]["significant"] for at in range(3)) == marked


def test_the_best_is_chosen_by_the_same_figures_so_all_pairs_count(tmp_path: Path) -> None:
    sources = [run(tmp_path / f"r{at}", Told([score(GSM, shares(60 + at))], BASE[:1])) for at in range(4)]
    shown = board(sources, 0.95)
    assert shown.json()["correction"] == {
        "method": "Holm",
        "comparisons_with_reference": 10,
        "comparisons_with_base": 4,
    }
    assert "corrected by Holm's method for 10 comparisons (all pairs" in text(shown) and "and 4 with a base" in text(
        shown
    )


def test_rows_are_sorted_by_the_mean_over_the_tasks_that_all_have(tmp_path: Path) -> None:
    strong = Told([score(GSM, shares(70)), score(LOGIC, shares(10))], BASE)
    sources = [run(tmp_path / "a", strong), run(tmp_path / "b", Told([score(GSM, shares(60))], BASE[:1]))]
    shown = board(sources, 0.95)
    assert names(shown) == ["a bf16", "b bf16", "org/base"]
    assert "the tasks that all rows have" in text(shown)


def test_many_tasks_go_into_several_tables_of_a_hundred_columns(tmp_path: Path) -> None:
    tasks = [f"distill_rg_task_{at:02d}" for at in range(14)]
    told_ = Told([score(task, shares(80)) for task in tasks], [score(task, shares(20)) for task in tasks])
    lines = text(board([run(tmp_path / "a", told_)], 0.95)).splitlines()
    tables = lines[: next(at for at, line in enumerate(lines) if line.startswith("avg@k"))]
    assert max(map(len, tables)) <= 100
    assert sum("model" in line for line in tables) >= 3
    assert all(any(f"rg_task_{at:02d}" in line for line in tables) for at in range(14))


def test_names_steer_no_terminal_and_are_no_markup(tmp_path: Path) -> None:
    name = "\x1b[2J[red]org[/red]/[link=x]base\u202e\n"
    shown = text(board([run(tmp_path / "a", Told(STUDENT, BASE, base_name=name))], 0.95))
    assert "\x1b" not in shown and "\u202e" not in shown and "[red]org[/red]/[link=x]base" in shown.replace("\n", "")


def test_a_path_of_this_machine_is_not_shown(tmp_path: Path) -> None:
    shown = board([run(tmp_path / "a", Told(STUDENT, BASE, base_name="/home/me/secret/my-base"))], 0.95)
    assert names(shown) == ["a bf16", "my-base"] and "secret" not in json.dumps(shown.json()) + shown.html()


def test_the_json_has_everything_and_is_json(tmp_path: Path) -> None:
    found = board([run(tmp_path / "a", Told(STUDENT, BASE), teacher=[score(GSM, shares(95))])], 0.9).json()
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))
    assert found["confidence"] == 0.9 and found["tasks"][GSM] == {"problems": 100, "k": 1, "reference": "teacher of a"}
    assert [(row["name"], row["kind"]) for row in found["rows"]] == [
        ("teacher of a", "teacher"),
        ("a bf16", "student"),
        ("org/base", "base"),
    ]
    assert found["rows"][1]["scores"][GSM]["sampling"] == (0.6, 0.95, 4096) and found["rows"][1]["runs"] == ("a",)


def test_quantized_variants_are_rows_and_the_16_bit_model_is_no_baseline(tmp_path: Path) -> None:
    made = make(tmp_path / "made", Made(tasks=(GSM, LOGIC), n_problems=10, baselines=("base",)))
    path = made.root / "5-gate" / "reports.json"
    rows = json.loads(path.read_text())
    reports = shards.read_list(path, GateReport)
    widened = replace(reports[1], baselines={**reports[1].baselines, "bf16": reports[0].scores})
    write_json(path, [rows[0], shards.to_row(widened)])
    expected = ["Qwen/Qwen2.5-Math-1.5B", "r1-qwen2.5-1.5b bf16", "r1-qwen2.5-1.5b nf4"]
    assert sorted(names(board([made.root], 0.95))) == expected


def test_in_a_browser_no_script_of_a_hostile_board_runs_and_nothing_is_asked_for(tmp_path: Path) -> None:
    with visits() as seen:
        bad = hostile(seen.url)
        task = f"t{bad}"
        told_ = Told([score(task, shares(80))], [score(task, shares(20))], base_name=f"org{bad}")
        source = run(tmp_path / "a", told_)
        recipe = json.loads((source / "recipe.json").read_text())
        write_json(source / "recipe.json", recipe | {"name": bad})
        document = board([source], 0.95).html()
        assert strange(document) == [] and "&lt;script&gt;document.title" in document
        seen.pages["/board.html"] = document
        shown = dom(f"{seen.url}/board.html", tmp_path)
        assert seen.hits == ["/board.html"] and title(shown) == "Leaderboard" and strange(shown) == []
