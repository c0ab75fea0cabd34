"""Rows to problems: the real benchmarks where they lie beside the checkout, and what broken files say."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.catalogue import catalogue, info, lines
from distill.curate.verify import VerifierPool
from distill.errors import InputError
from distill.gate_sections import GateTask
from distill.tasknames import RG_DIFFICULTY, RG_PREFIX, SUITES, TASK_DOMAINS, default_repeats
from evals import benchmarks, questions
from evals.readers import choices

QUESTIONS = {
    "distill_gsm8k": {"question": "1 + 1?", "answer": "so\n#### 2"},
    "distill_math500": {"problem": "1 + 1?", "answer": "2"},
    "distill_aime24": {"problem": "1 + 1?", "answer": "002"},
    "distill_aime25": {"problem": "1 + 1?", "answer": 2},
    "distill_amc23": {"question": "1 + 1?", "answer": 2.0, "url": "wiki/2023_AMC_12A_Problems/Problem_1"},
    "distill_gpqa_diamond": {
        "Question": "Which?",
        "Correct Answer": " Iron ",
        "Incorrect Answer 1": "Lead",
        "Incorrect Answer 2": "Gold",
        "Incorrect Answer 3": "Tin",
    },
    "distill_mmlu_pro_logic": {"question": "Which?", "options": ["a", "b", "c"], "answer": "B", "category": "law"},
    "distill_logiqa2": {"text": "All men lie.", "question": "Who?", "options": ["x", "y", "z", "w"], "answer": 1},
}
"""One row of each benchmark, under the Hub's own columns."""


@pytest.fixture(scope="module")
def verifier():
    with VerifierPool(1, timeout_s=60) as pool:
        yield pool


def read(task, path, **settings):
    return benchmarks.problems(GateTask(task=task, min=0, path=str(path), **settings))


def lines_of(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("task", "place", "count", "kinds"),
    [
        ("distill_gsm8k", "gsm8k/test.jsonl", 1319, {"math"}),
        ("distill_gsm8k", "gsm8k", 1319, {"math"}),
        ("distill_math500", "math500/test.jsonl", 500, {"math"}),
        ("distill_aime24", "aime_amc", 30, {"math"}),
        ("distill_aime25", "aime_amc/aime25.jsonl", 30, {"math"}),
        ("distill_amc23", "aime_amc", 40, {"math"}),
        ("distill_bbh_logic", "bbh", 2750, {"choice", "text"}),
        ("distill_knights_knaves", "knights_knaves", 500, {"rule"}),
    ],
)
def test_real_benchmarks_are_read_whole(shared_data, task, place, count, kinds):
    found = read(task, shared_data / place)
    assert len(found) == len({problem.id for problem in found}) == count == info(task).size
    assert {problem.answer_kind for problem in found} == kinds
    assert all(problem.prompt and problem.answer for problem in found)


def test_amc_of_two_years_counts_only_2023(shared_data):
    both = read("distill_amc23", shared_data / "aime_amc" / "amc_2022_2023.json")
    assert {problem.id for problem in both} == {p.id for p in read("distill_amc23", shared_data / "aime_amc")}
    assert {"-1", "27", "3159"} <= {problem.answer for problem in both}
    assert all("." not in problem.answer for problem in both)


@pytest.mark.parametrize(
    "subtask", ["navigate", "web_of_lies", "formal_fallacies", "tracking_shuffled_objects_three_objects"]
)
def test_what_bbh_asks_is_judged(shared_data, subtask, verifier):
    found = read("distill_bbh_logic", shared_data / "bbh" / f"{subtask}.json")
    others = {problem.answer for problem in found}
    assert len(found) == 250 and len(others) in (2, 3)
    right = verifier([(problem, f"\\boxed{{\\text{{{problem.answer}}}}}") for problem in found])
    wrong = verifier([(one, f"\\boxed{{{min(others - {one.answer})}}}") for one in found])
    assert all(judgement.right for judgement in right) and not any(judgement.right for judgement in wrong)


@pytest.mark.parametrize("task", QUESTIONS)
@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_problem(tmp_path, task, ending):
    row = QUESTIONS[task]
    path = tmp_path / f"test.{ending}"
    match ending:
        case "json":
            path.write_text(json.dumps([row]))
        case "jsonl":
            lines_of(path, row)
        case "parquet":
            pq.write_table(pa.Table.from_pylist([row]), path)
        case "csv":
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
                writer.writerow({name: json.dumps(v) if isinstance(v, list) else v for name, v in row.items()})
    [found] = read(task, path)
    [again] = read(task, tmp_path)
    assert found == again and found.id == read(task, lines_of(tmp_path / "other.jsonl", row))[0].id
    expected = {"distill_gpqa_diamond": None, "distill_mmlu_pro_logic": "(B)", "distill_logiqa2": "(B)"}.get(task, "2")
    assert expected in (None, found.answer)


def test_the_hubs_own_folders_are_read(tmp_path):
    (tmp_path / "data").mkdir()
    rows = [{"problem": f"{at} + 1?", "answer": str(at + 1)} for at in range(4)]
    for part in (0, 1):
        table = pa.Table.from_pylist(rows[2 * part : 2 * part + 2])
        pq.write_table(table, tmp_path / "data" / f"test-0000{part}-of-00002.parquet")
    assert [problem.answer for problem in read("distill_math500", tmp_path)] == ["1", "2", "3", "4"]


def test_knights_carry_their_solution_and_are_three_to_seven(tmp_path):
    row = {"quiz": "Who?", "names": ["Al", "Bo"], "solution": [True, False], "solution_text_format": "(1) Al is …"}
    (tmp_path / "test").mkdir()
    for people in (2, 3, 7, 8):
        lines_of(tmp_path / "test" / f"people{people}_num100.jsonl", {**row, "quiz": f"Who of {people}?"})
    lines_of(tmp_path / "kk_3ppl_train.jsonl", row)
    found = read("distill_knights_knaves", tmp_path)
    assert [problem.prompt for problem in found] == ["Who of 3?", "Who of 7?"]
    assert found[0].meta == {"rule": "knights_knaves", "solution": {"Al": True, "Bo": False}}


def test_gpqa_options_stand_in_an_order_that_only_the_content_fixes(tmp_path):
    rows = [{**QUESTIONS["distill_gpqa_diamond"], "Question": f"Which of {at}?"} for at in range(200)]
    first = read("distill_gpqa_diamond", lines_of(tmp_path / "a.jsonl", *rows))
    turned = [{**row, "Incorrect Answer 1": "Tin", "Incorrect Answer 3": "Lead"} for row in reversed(rows)]
    second = read("distill_gpqa_diamond", lines_of(tmp_path / "b.jsonl", *turned))
    assert first == second[::-1]
    counts = {letter: sum(p.answer == f"({letter})" for p in first) for letter in "ABCD"}
    assert all(30 <= count <= 70 for count in counts.values()), counts  # 50 each, 6 is a standard deviation
    for problem in first:
        assert f"{problem.answer} Iron" in problem.prompt.splitlines()
    assert first[0].prompt.splitlines()[-1] == choices.ASK
    lettered = {"question": "Which of 0?", "options": ["Lead", "Gold", "Iron", "Tin"], "answer": "C"}
    assert read("distill_gpqa_diamond", lines_of(tmp_path / "c.jsonl", lettered)) == [first[0]]


def test_gpqa_options_are_picked_by_letter_and_by_words(tmp_path, verifier):
    [problem] = read("distill_gpqa_diamond", lines_of(tmp_path / "a.jsonl", QUESTIONS["distill_gpqa_diamond"]))
    texts = [f"\\boxed{{{problem.answer[1]}}}", "\\boxed{Iron}", "\\boxed{Lead}", "\\boxed{\\text{(E)}}"]
    assert [one.right for one in verifier([(problem, text) for text in texts])] == [True, True, False, False]


def test_mmlu_pro_takes_the_logic_subjects_with_ten_options(tmp_path):
    row = {"question": "Which?", "options": [f"option {at}" for at in range(10)], "answer": "J", "answer_index": 9}
    rows = [{**row, "category": name} for name in ("math", "philosophy", "law", "computer science", "history")]
    found = read("distill_mmlu_pro_logic", lines_of(tmp_path / "a.jsonl", *rows))
    assert [problem.source for problem in found] == [
        *("mmlu_pro/philosophy", "mmlu_pro/law", "mmlu_pro/computer_science")
    ]
    assert all(problem.answer == "(J)" and "(J) option 9" in problem.prompt for problem in found)
    padded = {**row, "options": ["a", "b", "N/A", "N/A"], "answer": "B"}
    [whole] = read("distill_mmlu_pro_logic", lines_of(tmp_path / "b.jsonl", padded))  # no subject: all of it
    assert "N/A" not in whole.prompt
    with pytest.raises(InputError, match="no row is of philosophy, law, computer science; its subjects are history"):
        read("distill_mmlu_pro_logic", lines_of(tmp_path / "c.jsonl", {**row, "category": "history"}))


def test_logiqa2_in_both_of_its_forms(tmp_path):
    [mrc] = read("distill_logiqa2", lines_of(tmp_path / "a.jsonl", QUESTIONS["distill_logiqa2"]))
    assert mrc.prompt.startswith("All men lie.\n\nWho?\n\n(A) x\n(B) y\n") and mrc.answer == "(B)"
    [evaluated] = read("distill_logiqa2", lines_of(tmp_path / "b.jsonl", {"content": "Who?\nA. x", "ideal": "D"}))
    assert evaluated.answer == "(D)"


def test_answers_in_other_digits_and_inside_solutions_are_read(tmp_path):
    [arabic] = read("distill_aime24", lines_of(tmp_path / "a.jsonl", {"problem": "q", "answer": "\u0660\u0667\u0663"}))
    assert arabic.answer == "73"
    for name in ("answer", "solution"):
        row = {"problem": "q", name: "Half, so \\boxed{\\frac{1}{2}}."}
        assert read("distill_math500", lines_of(tmp_path / "m.jsonl", row))[0].answer == "\\frac{1}{2}"


def test_bbh_options_are_options_with_and_without_brackets(tmp_path):
    row = {"input": "Which?\nOptions:\n(A) the oak\n(B) the elm", "target": "B"}
    [found] = read("distill_bbh_logic", lines_of(tmp_path / "b.jsonl", row))
    assert (found.answer, found.answer_kind) == ("(B)", "choice")
    with VerifierPool(1) as verifier:
        texts = ["\\boxed{B}", "\\boxed{(B)}", "\\boxed{the elm}", "\\boxed{A}"]
        assert [one.right for one in verifier([(found, text) for text in texts])] == [True, True, True, False]


def test_a_question_that_stands_twice_keeps_both_rows(tmp_path):
    path = tmp_path / "bbh.json"
    path.write_text(json.dumps({"canary": "c", "examples": [{"input": "not True is", "target": "False"}] * 2}))
    assert [problem.id.partition("-")[2] for problem in read("distill_bbh_logic", path)] == ["", "2"]


@pytest.mark.parametrize("family", RG_DIFFICULTY)
def test_procedural_tasks_are_fresh_fixed_and_judged(family, verifier):
    task = GateTask(task=RG_PREFIX + family, min=0, size=6)
    found = benchmarks.problems(task)
    assert found == benchmarks.problems(task) and len({problem.id for problem in found}) == 6
    assert {problem.meta["seed"] for problem in found} == set(range(900_000_000, 900_000_006))
    assert all(problem.meta["config"] == RG_DIFFICULTY[family] for problem in found)
    right = verifier([(problem, f"\\boxed{{\\text{{{problem.answer}}}}}") for problem in found])
    nobody = verifier([(problem, "\\boxed{nobody}") for problem in found])
    assert all(judgement.right for judgement in right)
    assert [judgement.right for judgement in nobody] == [False] * 6


def test_made_problems_are_read_from_nowhere(tmp_path):
    with pytest.raises(InputError, match="are made, not read; take path"):
        read("distill_rg_chain_sum", lines_of(tmp_path / "a.jsonl", {"question": "q", "answer": "1"}))


def test_a_recipes_own_difficulty_and_other_families():
    easy = GateTask(task="distill_rg_zebra_puzzles", min=0, size=1, config={"num_people": 3})
    assert "There are 3 houses" in benchmarks.problems(easy)[0].prompt
    sums = GateTask(task="distill_rg_chain_sum", min=0, size=3, seed=7)
    assert len(questions([sums])["distill_rg_chain_sum"]) == 3


GPQA, CHOICE = QUESTIONS["distill_gpqa_diamond"], QUESTIONS["distill_mmlu_pro_logic"]
KNIGHTS = {"quiz": "q", "names": ["Al"], "solution": [True], "solution_text_format": "x"}


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        ("distill_gsm8k", {"question": "q"}, r"line 1: there is no column 'answer' .*the columns are question"),
        ("distill_gsm8k", {"question": "q", "answer": ""}, "line 1: the column 'answer' is empty"),
        ("distill_gsm8k", {"question": ["q"], "answer": "1"}, r"the column 'question' is no text, but \['q'\]"),
        ("distill_gsm8k", {"question": "q", "answer": "so\n####"}, "nothing stands behind"),
        ("distill_math500", {"problem": None, "answer": "1"}, "'problem' is empty"),
        ("distill_aime24", {"problem": "q", "answer": "1000"}, "the answer is 1000, and AIME's are integers from 0"),
        ("distill_aime25", {"problem": "q", "answer": "-1"}, "the answer is -1"),
        ("distill_aime25", {"problem": "q", "answer": 1.5}, "the answer is '1.5', and it must be an integer"),
        ("distill_amc23", {"problem": "q", "answer": float("nan")}, "must be an integer"),
        ("distill_bbh_logic", {"input": "q"}, "no column 'target'"),
        ("distill_knights_knaves", {"quiz": "q", "names": "Al"}, "no list in the column 'names', but 'Al'"),
        ("distill_knights_knaves", {**KNIGHTS, "solution": ["true"]}, "true or false"),
        ("distill_knights_knaves", {**KNIGHTS, "solution": [True, True]}, "each of the 1 names"),
        ("distill_knights_knaves", {**KNIGHTS, "names": ["A", "A"], "solution": [True, False]}, "are the same"),
        ("distill_knights_knaves", {**KNIGHTS, "names": ["Al", "AL"], "solution": [True, False]}, "are the same"),
        ("distill_knights_knaves", {**KNIGHTS, "names": ["Al", ""], "solution": [True, False]}, "an empty text"),
        ("distill_gsm8k", {"question": "q", "answer": float("nan")}, "'answer' is no answer, but nan"),
        ("distill_gsm8k", {"question": "q", "answer": True}, "is no answer, but True"),
        ("distill_math500", {"problem": "q", "answer": [1, 2]}, r"is no answer, but \[1, 2\]"),
        ("distill_math500", {"problem": "q", "solution": "It is seven."}, r"has no \\boxed\{\}"),
        ("distill_aime24", {"problem": "q", "answer": "9" * 5000}, "must be an integer"),
        ("distill_mmlu_pro_logic", {"question": "q", "A": "x", "B": "y", "D": "z", "E": "w", "answer": "D"}, "a gap"),
        ("distill_gpqa_diamond", {**GPQA, "Incorrect Answer 2": ""}, "'Incorrect Answer 2' is empty"),
        ("distill_gpqa_diamond", {**GPQA, "Incorrect Answer 2": "Iron"}, "stands there twice: 'Iron'"),
        ("distill_gpqa_diamond", {"Question": "q"}, "no column 'options'"),
        ("distill_mmlu_pro_logic", {**CHOICE, "answer": "D"}, "is 'D', and it must be a letter from A to C"),
        ("distill_mmlu_pro_logic", {**CHOICE, "answer": True}, "must be a letter"),
        ("distill_mmlu_pro_logic", {**CHOICE, "options": ["a"]}, "there are 1 options"),
        ("distill_mmlu_pro_logic", {**CHOICE, "options": list("abcdefghijk")}, "there are 11 options"),
        ("distill_mmlu_pro_logic", {**CHOICE, "options": "['a', 'b']"}, "write it as JSON"),
        ("distill_mmlu_pro_logic", {**CHOICE, "options": ["a", None]}, "holds None, which is no text"),
        ("distill_mmlu_pro_logic", {**CHOICE, "options": ["a", " "]}, "holds an empty text"),
        ("distill_logiqa2", {"text": "t", "question": "q", "options": ["a", "b"], "answer": 2}, "number from 0 to 1"),
        ("distill_logiqa2", {"question": "q", "options": ["a", "b"], "answer": 0}, "no column 'text'"),
        ("distill_logiqa2", {"content": "c", "ideal": "E"}, "letter from A to D"),
    ],
)
def test_broken_rows_are_told_in_a_sentence_with_their_place(tmp_path, task, row, says):
    path = lines_of(tmp_path / "a.jsonl", row)
    with pytest.raises(InputError, match=says) as told:
        read(task, path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("task", TASK_DOMAINS)
def test_what_is_not_there_is_told(tmp_path, task):
    with pytest.raises(InputError, match="there is no"):
        read(task, tmp_path)
    for path in (str(tmp_path / "none.jsonl"), "openai/gsm8k"):  # a Hub id would be read in its training split
        with pytest.raises(InputError, match="there is no such file"):
            read(task, path)
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(InputError, match="no problem"):
        read(task, tmp_path / "a.jsonl")


@pytest.mark.parametrize("task", TASK_DOMAINS)
def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do(monkeypatch, task):
    import datasets

    asked = []

    def refuse(path, subset, *, split, revision):
        asked.append((path, subset, split))
        raise datasets.exceptions.DatasetNotFoundError(f"{path} is a gated dataset on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(InputError, match=f"^{task}: .*write path: with a local copy") as told:
        benchmarks.problems(GateTask(task=task, min=0))
    assert (
        "accept the terms on https://huggingface.co/datasets/Idavidrein/gpqa and set HF_TOKEN" in str(told.value)
    ) == (task == "distill_gpqa_diamond")
    assert asked[0][0] == info(task).source


def test_hub_rows_are_read_under_the_hubs_own_columns(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda path, subset, **_: [by_path[path]])
    by_path = {info(task).hub.path: row for task, row in QUESTIONS.items()}
    for task in QUESTIONS:
        assert len(benchmarks.problems(GateTask(task=task, min=0))) == 1
    by_path["openai/gsm8k"] = {"question": "q"}
    with pytest.raises(InputError, match=r"^openai/gsm8k, row 1: there is no column 'answer'"):
        benchmarks.problems(GateTask(task="distill_gsm8k", min=0))


def test_the_catalogue_knows_every_task_and_says_it():
    found = {task["name"]: task for task in catalogue()}
    assert set(TASK_DOMAINS) | {name for names in SUITES.values() for name in names} == set(found)
    assert [name for name, task in found.items() if task["gated"]] == ["distill_gpqa_diamond"]
    for name, task in found.items():
        assert task["k"] == default_repeats(name) and task["domain"] == info(name).domain in ("math", "logic")
        assert task["description"].endswith(".") and task["licence"] and task["size"] > 0
    assert json.loads(json.dumps(catalogue())) == catalogue()
    said = "\n".join(lines(catalogue()))
    assert all(name in said for name in found) and "Idavidrein/gpqa, gated (CC BY 4.0)" in said


def test_the_readme_says_what_the_catalogue_says():
    text = (Path(benchmarks.__file__).parent / "README.md").read_text()
    for task in catalogue():
        [row] = [line for line in text.splitlines() if line.startswith(f"| {task['name']} ")]
        assert f"| {task['size']:,} | {task['k']} |" in row and task["licence"] in row and task["source"] in row
