"""The commands that look: each bad word is one sentence and an exit code, and nothing is left behind."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill import cli, shards
from distill.records import GateReport
from distill.run import Run, write_json
from tests.made_run import Made, make
from tests.test_recipes import GOOD, write

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("distill_gsm8k", "distill_bbh_logic")
Said = tuple[int, str, str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, with a whole run in it."""
    make(tmp_path / "runs" / "made", Made(name="made", tasks=TASKS, n_problems=10))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def distill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command, in this process: its exit code, and what it said."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["distill", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return code, said.out, said.err

    return call


def change(run: Path, **changes: Any) -> None:
    """Puts something else into the first check of the first report."""
    path = run / "5-gate" / "reports.json"
    first, *others = shards.read_list(path, GateReport)
    checks = (replace(first.checks[0], **changes), *first.checks[1:])
    write_json(path, [shards.to_row(report) for report in (replace(first, checks=checks), *others)])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("status", "nowhere"), "there is no run 'nowhere'"),
        (("report", "nowhere"), "there is no run 'nowhere'"),
        (("peek", "made", "kept", "-n", "-1"), "See `distill peek --help`"),
        (("peek", "made"), "STAGE"),
        (("peek", "made", "shelf"), "'shelf' cannot be looked at"),
        (("peek", "made", "kept", "--reason", "contaminated"), "--reason is for dropped traces"),
        (("leaderboard", "nowhere"), "there is no run and no release 'nowhere'"),
        (("leaderboard", "made", "--reference", "nonsense"), "write one of"),
        (("leaderboard", "made", "--confidence", "1"), "write a number from 0.5 to below 1"),
        (("leaderboard", "made", "--confidence", "nan"), "write a number from 0.5 to below 1"),
        (("leaderboard", "made", "--html", "."), "--html . is a folder"),
        (("leaderboard", "made", "--html", "a-file/board.html"), "--html a-file/board.html cannot be written"),
        (("new", "a b"), "'a b' cannot be a run's name"),
        (("new", "../up"), "'../up' cannot be a run's name"),
        (("new", "a/b"), "'a/b' cannot be a run's name"),
        (("new", "mine", "--from", "nothing"), "is no shipped recipe; write one of"),
        (("run", "quickstart", "--runs", "a-file"), "--runs a-file: nothing can be written to"),
        (("run", "quickstart", "--until", "lunch"), "write one of problems, sample"),
        (("runn",), "See `distill --help`"),
    ],
)
def test_a_bad_word_is_one_sentence_and_leaves_nothing(
    home: Path, distill: Any, arguments: tuple[str, ...], says: str
) -> None:
    (home / "a-file").write_text("x")
    before = sorted(home.rglob("*"))
    code, out, err = distill(*arguments)
    assert (code, out) == (2, "") and says in err and err.count("\n") == 1 and err.startswith("distill: ")
    assert sorted(home.rglob("*")) == before


def test_a_new_recipe_has_the_name_that_was_given(home: Path, distill: Any) -> None:
    assert distill("new", "7")[0] == 0
    assert json.loads(distill("show", "7.yaml", "--json")[1])["name"] == "7"
    assert distill("new", "7")[2] == "distill: 7.yaml is there already; choose another name\n"


def test_peek_says_so_where_there_is_nothing(home: Path, distill: Any) -> None:
    code, out, err = distill("peek", "made", "dropped", "--reason", "contaminated", "--json")
    assert (code, out) == (0, "") and "none at all" in err


def test_status_says_why_a_gate_is_closed_and_is_no_markup(home: Path, distill: Any) -> None:
    change(home / "runs" / "made", outcome="fail", why="it [red]fell[/] by 0.2", task="t[/bold]\x1b[2J")
    code, out, _ = distill("status", "made")
    assert code == 0 and "gate closed" in out and "bf16: it [red]fell[/] by 0.2" in out
    assert "t[/bold][2J" in out and "\x1b" not in out
    change(home / "runs" / "made", outcome="fail", waiver="[link=x]a toy[/link] (A. Person)")
    assert "[link=x]a toy[/link] (A. Person)" in distill("status", "made")[1]


def test_who_stops_reading_is_no_closed_gate(home: Path) -> None:
    command = [sys.executable, "-m", "distill.cli", "peek", "made", "kept", "-n", "2000", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(5) == b'{"id"'
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (141, b"")
    process.stderr.close()


def test_looking_makes_no_folder(home: Path, distill: Any) -> None:
    write_json(home / "runs" / "new" / "recipe.json", {"name": "new"})
    assert distill("status", "new")[0] == 0
    assert [path.name for path in (home / "runs" / "new").iterdir()] == ["recipe.json"]


@pytest.mark.parametrize("text", ["{", "[]", "null", "[1]", "[{}]", "\udcff"])
@pytest.mark.parametrize("name", ["5-gate/reports.json", "recipe.json"])
def test_a_broken_file_is_named_and_what_to_do_about_it(home: Path, distill: Any, name: str, text: str) -> None:
    path = home / "runs" / "made" / name
    path.write_text(text, errors="surrogateescape")
    commands = ("report", "leaderboard", *(("status",) if name.startswith("5") else ()))
    for command in commands:
        code, _, err = distill(command, "made")
        assert code == 3 and f"runs/made/{name}" in err and "delete it" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"outcome": "pass"', '"outcome": "splendid"'),
        ('"metric": "avg@2"', '"metric": 2'),
        ('"n_problems": 10', '"n_problems": "ten"'),
        ('"why": "', '"why": null, "was": "'),
    ],
)
def test_a_report_of_other_kinds_is_refused(home: Path, distill: Any, old: str, new: str) -> None:
    path = home / "runs" / "made" / "5-gate" / "reports.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    for command in ("status", "report", "leaderboard"):
        code, _, err = distill(command, "made")
        assert code == 3 and "holds no reports of a gate" in err and err.count("\n") == 1


def test_a_leaderboard_of_a_folder_has_all_runs_and_releases_in_it(home: Path, distill: Any) -> None:
    make(home / "runs" / "other", Made(name="other", tasks=TASKS, n_problems=10, seed=2))
    (home / "shelf").mkdir()
    (home / "runs" / "other").rename(home / "shelf" / "other")
    (home / "shelf" / "other" / "lineage").mkdir()
    (home / "shelf" / "other" / "5-gate").rename(home / "shelf" / "other" / "lineage" / "5-gate")
    code, out, _ = distill("leaderboard", "runs", "shelf", "made", "--json")
    rows = json.loads(out)["rows"]
    students = {row["name"]: row["waived"] for row in rows if row["kind"] == "student"}
    assert code == 0 and students == {"made bf16": False, "made nf4": True, "other bf16": False, "other nf4": True}
    assert "waivers" in distill("leaderboard", "shelf")[1]


def test_many_tasks_and_models_are_a_table_that_can_be_read(tmp_path: Path, distill: Any) -> None:
    tasks = tuple(f"distill_rg_task_{at:02d}" for at in range(12))
    made = Made(
        tasks=tasks, n_problems=60, k=1, variants=("bf16", "int8", "nf4"), baselines=("base", "previous", "teacher")
    )
    run: Run = make(tmp_path / "many", made)
    _, out, _ = distill("status", str(run.root))
    assert all(f" {task} " in out for task in tasks) and max(map(len, out.splitlines()[:30])) <= 110
    assert "more checks passed" in out and out.count("\n") < 60


def test_power_says_which_family_cannot_be_made(tmp_path: Path, distill: Any) -> None:
    gate = {"tasks": [{"task": f"distill_rg_{name}", "min": 0.1} for name in ("aiw", "gcd", "nosuch")]}
    code, _, err = distill("power", write(tmp_path, GOOD | {"gate": gate}))
    assert code == 2 and err.startswith("distill: gate.tasks, distill_rg_nosuch: ") and err.count("\n") == 1


def test_show_says_where_the_values_of_suites_and_of_served_models_came_from(tmp_path: Path, distill: Any) -> None:
    server = {"kind": "endpoint", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    tasks = [{"suite": "logic", "min": 0.1}, {"task": "distill_gsm8k", "max_drop": 0.2}]
    path = write(tmp_path, GOOD | {"gate": {"tasks": tasks, "served": {"bf16": server}}})
    code, out, _ = distill("show", path, "--explain", "--set", "gate.tasks.0.repeats=2", "--set", "release.traces=true")
    assert code == 0
    for line in (
        "gate.tasks.6.min: 0.1  [recipe]",
        "gate.tasks.6.repeats: 2  [recipe]",
        "gate.tasks.6.max_drop: null  [default]",
        "gate.tasks.7.max_drop: 0.2  [recipe]",
        'gate.served.bf16.base_url: "http://127.0.0.1:9/v1"  [recipe]',
        "gate.served.bf16.stream: false  [default]",
        "release.traces: true  [--set]",
    ):
        assert f"{line}\n" in out, line
