"""The report: what a run has, in words and pictures; what it has not, said; and in a real browser nothing of what
models and others wrote comes to life."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from distill import report
from distill.errors import InputError, ShardError
from distill.records import Completion, Score
from distill.report import survey
from distill.report.state import read
from distill.run import Run, write_json
from distill.samples import Sample
from distill.shards import to_row
from tests.browser import dom, hostile, strange, title, visits
from tests.made_run import Made, make, unseal

SMALL = Made(tasks=("distill_gsm8k", "distill_bbh_logic"), n_problems=30)
LATER = ("sample", "curate", "train", "gate", "release")


def page(run: Run) -> str:
    return report.write(run).read_text(encoding="utf-8")


def words(document: str) -> str:
    """What a person reads, with single spaces."""
    without = re.sub(r"<style>.*?</style>", "", document, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", without)).split())


def pictures(document: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", document, re.S)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that went all the way."""
    return make(tmp_path_factory.mktemp("run") / "made", SMALL)


def test_the_report_tells_the_road_in_numbers(whole: Run) -> None:
    path = report.write(whole)
    assert path == whole.root / "report.html" and not list(whole.root.glob("*.partial"))
    said = words(path.read_text(encoding="utf-8"))
    for expected in (
        "r1-qwen2.5-1.5b : report ✓ The gate is open (with waivers). Released to 6-release/r1-qwen2.5-1.5b.",
        "2,400 problems 2,307 traces sampled 12 attempts failed 2,000 traces kept $9.81 paid to the teacher",
        "teacher deepseek-ai/DeepSeek-R1-0528 served as deepseek-r1-0528 provider Parasail",
        "first answer 2026-11-24T09:00:00Z last answer 2026-11-24T11:40:00Z",
        "tokens of the answers 3,912,400 cost of the traces $9.81 spent in all $10.02",
        "kept 2,000 86.7% unfinished 61 2.6% contaminated 29 1.3% wrong_answer 212 9.2% near_duplicate 5 0.2%",
        "distill_gsm8k 27 by ngram, 2 by reworded",
        "2-traces done",
        "2 h 40 min",
        "base Qwen/Qwen2.5-Math-1.5B revision as it lay there trained an adapter, base in nf4",
        "peak memory, GiB 10.61 held-out loss 0.503",
        "as it is released 2.1e-06",
    ):
        assert expected in said, expected


def test_the_report_draws_loss_lengths_and_the_checks_of_every_variant(whole: Run) -> None:
    drawn = pictures(page(whole))
    names = [one.findtext("{http://www.w3.org/2000/svg}title") for one in drawn]
    assert names == ["Loss", "Kept traces", "distill_gsm8k", "distill_bbh_logic", "The gate: bf16", "The gate: nf4"]
    assert all(one.attrib["role"] == "img" for one in drawn)
    legend = "".join(drawn[2].itertext())
    assert all(f"{model} (60, median" in legend for model in ("base", "teacher", "bf16", "nf4"))
    checks = " ".join(drawn[5].itertext())
    assert "gsm8k, drop" in checks and "✓ pass" in checks and "bbh_logic, unfinished" in checks and "✗ waived" in checks


def test_scores_stand_with_intervals_and_students_against_the_base(whole: Run) -> None:
    said, score = words(page(whole)), read(whole).reports[0].scores[0]
    assert re.search(rf"distill_gsm8k 30 × 2 .*{100 * score.value:.1f} \d+\.\d to \d+\.\d unfinished", said)
    assert re.search(r"bf16 base distill_gsm8k \+\d+\.\d \+\d+\.\d to \+\d+\.\d ▲ better", said)
    assert re.search(r"nf4 bf16 distill_gsm8k [+-]\d+\.\d [+-]\d+\.\d to [+-]\d+\.\d", said)
    assert "teacher base" not in said.partition("Differences in points")[2].partition("Merging")[0]
    assert "Waived, and answered for: distill_bbh_logic, unfinished (fail): the task is out of date" in said


@pytest.mark.parametrize(
    ("undone", "missing", "there"),
    [
        (
            LATER,
            ["The traces are not sealed yet.", "The traces are not curated yet."],
            ["2,400 problems", "2-traces not done"],
        ),
        (LATER[1:], ["The traces are not curated yet.", "No traces are kept yet."], ["2,307 traces sampled"]),
        (
            LATER[2:],
            ["The student is not trained yet."],
            ["kept 2,000", "2,000, median"],
        ),
        (LATER[3:], ["The gate has not judged this run yet."], ["5,900,222", "Training loss from"]),
    ],
)
def test_a_run_that_is_half_done_shows_what_is_there(
    tmp_path: Path, undone: tuple[str, ...], missing: list[str], there: list[str]
) -> None:
    run = make(tmp_path / "half", replace(SMALL, n_problems=5))
    unseal(run, *undone)
    (run.root / "5-gate" / "reports.json").unlink()
    said = words(page(run))
    for expected in [*missing, *there, "There are no scores yet."]:
        assert expected in said, expected


def test_a_run_that_has_only_begun_has_a_page_and_gets_no_folders(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {"name": "new"})
    said = words(page(Run(tmp_path)))
    assert "new : report The gate has not judged this run yet." in said and "no loss curve, yet" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.json", "report.html"]


def test_answers_are_shown_while_the_gate_still_measures(tmp_path: Path) -> None:
    run = make(tmp_path / "half", SMALL)
    unseal(run, "gate", "release")
    (run.root / "5-gate" / "reports.json").unlink()
    said = words(page(run))
    assert "There are no scores yet." in said and "bf16 is right, where the base is wrong" in said


def test_what_closed_the_gate_stands_at_the_top(tmp_path: Path) -> None:
    run = make(tmp_path / "closed", SMALL)
    path = run.root / "5-gate" / "reports.json"
    rows = json.loads(path.read_text(encoding="utf-8"))
    for check in rows[0]["checks"]:
        check |= {"outcome": "fail", "waiver": ""}
    write_json(path, rows)
    manifest = run.root / "5-gate" / "manifest.json"
    write_json(manifest, json.loads(manifest.read_text()) | {"passed": False})
    said = words(page(run))
    top = said.partition("The road")[0]
    assert (
        "✗ The gate is closed: nothing is released. bf16: distill_gsm8k measured" in top
        and "and 4 more, see below" in top
    )
    assert "bf16 ✗ does not pass" in said


def test_broken_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        report.write(Run(tmp_path))
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(ShardError, match="is not JSON"):
        report.write(Run(tmp_path))


def test_a_torn_line_of_the_metrics_and_a_loss_that_is_no_number_stop_nothing(tmp_path: Path) -> None:
    run = make(tmp_path / "torn", replace(SMALL, n_problems=3))
    with (run.root / "4-student" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 601, "loss": NaN}\n[1]\n{"step": 602, "lo')
    assert "over 601 steps" in words(page(run))


# What each of the models does with a problem: one letter per sample, r(ight), w(rong), u(nfinished).
CASES = {
    "gained": ("rr", "ww", survey.GAINED, ("r", "w")),
    "gained, too": ("rr", "ww", survey.GAINED, ("r", "w")),
    "lost": ("wrw", "rwr", survey.LOST, ("w", "r")),
    "cut": ("wu", "ww", survey.CUT, ("u", "w")),
    "wrong": ("ww", "wu", survey.WRONG, ("w", "w")),
    "both": ("rw", "rr", survey.BOTH, ("r", "r")),
}
MARKS = {"r": "right", "w": "wrong", "u": "unfinished"}


def _samples(name: str, task: str) -> list[Sample]:
    said = {"bf16": 0, "base": 1}
    return [
        Sample(task, problem, "ask", "1", seed, Completion("t", f"{name} {seed}", "stop", 1, 9, "m"), MARKS[letter])
        for problem, case in CASES.items()
        for seed, letter in enumerate(str(case[said[name]]))
    ]


def test_one_problem_of_every_kind_is_shown_with_a_typical_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bf16", "base"):
        (tmp_path / "5-gate" / "scores" / name / "task").mkdir(parents=True)
    write_json(tmp_path / "recipe.json", {"name": "cases"})
    monkeypatch.setattr(survey, "read_samples", lambda folder, task: _samples(folder.name, task))
    [found] = survey.survey(read(Run(tmp_path)))
    assert [case.kind for case in found.cases] == list(survey.KINDS)
    for case in found.cases:
        problem = case.answers[0].sample.problem_id
        student, _, kind, marks = CASES[problem]
        assert kind == case.kind and [one.model for one in case.answers] == ["base", "bf16"]
        shown = {one.model: one for one in case.answers}
        assert (shown["bf16"].sample.mark, shown["base"].sample.mark) == tuple(MARKS[letter] for letter in marks)
        assert shown["bf16"].right == student.count("r") and shown["bf16"].asked == len(student)
    assert found.cases[0].answers[0].sample.problem_id == Score.order(["gained", "gained, too"])[0]
    assert list(found.lengths["base"]) == [9] * 13


def _row(problem: str, texts: list[str], mark: str) -> dict[str, Any]:
    said = [Completion(text, text, "stop", 1, None, "m") for text in texts]
    doc = {"id": problem, "ask": texts[0], "answer": "1"}
    resps = [[json.dumps(to_row(one)) for one in said]]
    return {"doc": doc, "resps": resps, "seeds": list(range(len(said))), "marks": [mark] * len(said)}


def test_ten_thousand_long_answers_make_no_huge_page(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {"name": "many"})
    text = "<&\u202e" * 300
    for name in ("base", "bf16"):
        folder = tmp_path / "5-gate" / "scores" / name / "distill_gsm8k"
        folder.mkdir(parents=True)
        with (folder / "samples_distill_gsm8k_2026-11-25T10-00-00.jsonl").open("w") as file:
            file.writelines(json.dumps(_row(f"p{at}", [text] * 10, "right")) + "\n" for at in range(500))
    document = page(Run(tmp_path))
    assert len(document.encode()) < 60_000
    assert "characters left out" in document and "base (5,000, median" in document


def test_a_page_of_everything_stays_within_its_bound(tmp_path: Path) -> None:
    write_json(tmp_path / "recipe.json", {"name": "<" * 100_000})
    for task in (f"task_{at:03d}" for at in range(30)):
        for name in ("base", "teacher", "previous", "bf16", "int8", "nf4", "more"):
            folder = tmp_path / "5-gate" / "scores" / name / task
            folder.mkdir(parents=True)
            marks = (
                ["wrong", "right", "unfinished", "wrong", "right"] if name == "base" else ["right", "wrong", "wrong"]
            )
            rows = [_row(f"p{at}", ["<" * 8000], marks[at % len(marks)]) for at in range(15)]
            (folder / f"samples_{task}_x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = page(Run(tmp_path))
    assert 4_000_000 < len(document.encode()) < 12_000_000
    assert "task_029" in document.partition("Not shown")[2] and "task_023" in document.partition("Not shown")[0]


def test_a_task_s_name_leads_nowhere(tmp_path: Path) -> None:
    run = make(tmp_path / "made", replace(SMALL, n_problems=3))
    path = run.root / "5-gate" / "reports.json"
    (run.root / "5-gate" / "scores" / "samples_.._x.jsonl").write_text("this is read by nobody\n")
    rows = json.loads(path.read_text())
    for row in rows:
        row["scores"][0]["task"] = ".."
    write_json(path, rows)
    assert "those with answers): .." in words(page(run))


def _hostile_run(root: Path, url: str) -> Run:
    text = hostile(url)
    task = "<img src=x onerror=document.title='owned'>"
    return make(
        root, Made(tasks=("distill_gsm8k", "distill_bbh_logic", task), n_problems=20, text=text, raw="\udfff\ud800")
    )


def test_a_hostile_run_is_text_and_nothing_else(tmp_path: Path) -> None:
    document = page(_hostile_run(tmp_path / "made", "http://127.0.0.1:9"))
    assert strange(document) == []
    said = words(document)
    assert said.count("<script>document.title='owned'") > 20 and "⟨U+202E⟩edirrevo⟨U+2066⟩ ⟨U+001B⟩[31m" in said
    assert "⟨U+DFFF⟩⟨U+D800⟩" in said and "\u202e" not in document and "\x1b" not in document


def test_in_a_browser_no_script_of_a_hostile_run_runs_and_nothing_is_asked_for(tmp_path: Path) -> None:
    with visits() as seen:
        for name, text in (
            ("/moves.html", hostile(seen.url)),
            ("/stays.html", hostile(seen.url).replace("refresh", "")),
        ):
            seen.pages[name] = f"<!DOCTYPE html><title>calm</title><body><p>{text}</p>"
            control = dom(f"{seen.url}{name}", tmp_path)
        assert title(control) == "owned" and {"/script", "/img", "/frame", "/link", "/css", "/meta"} <= set(seen.hits)

        document = page(_hostile_run(tmp_path / "made", seen.url))
        unprotected = re.sub(r"<meta http-equiv=[^>]*>", "", document)
        assert len(unprotected) < len(document)
        for name, content in (("/report.html", document), ("/unprotected.html", unprotected)):
            seen.pages[name] = content
            seen.hits.clear()
            shown = dom(f"{seen.url}{name}", tmp_path)
            by_itself = ["/favicon.ico"] if name == "/unprotected.html" else []  # the policy forbids even that
            assert [hit for hit in seen.hits if hit not in by_itself] == [name]
            assert html.unescape(title(shown)) == html.unescape(title(document)) and strange(shown) == []
            assert "⟨U+202E⟩edirrevo" in shown and "&lt;script&gt;document.title='owned'" in shown


def test_in_a_browser_the_page_is_its_own_style_and_pictures(whole: Run, tmp_path: Path) -> None:
    shown = dom(report.write(whole).as_uri(), tmp_path)
    assert title(shown) == "r1-qwen2.5-1.5b: report" and shown.count("<svg xmlns") == 6
    assert strange(shown) == []
