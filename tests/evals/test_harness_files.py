"""What an evaluation leaves on disk: lm-eval's two files, for its own tools and `datasets`, and each sample."""

import importlib.util
import json
from pathlib import Path

import pytest

from distill.errors import ShardError
from distill.samples import Sample, read_samples, samples_file

_spec = importlib.util.spec_from_file_location("evals_measuring", Path(__file__).with_name("measuring.py"))
assert _spec is not None and _spec.loader is not None
measuring = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measuring)

MATH, LOGIC, Scripted, done = measuring.MATH, measuring.LOGIC, measuring.Scripted, measuring.done
files, gate, measure, right = measuring.files, measuring.gate, measuring.measure, measuring.right
HOSTILE = "</script> \u2028 \x00 \u202e {{x}} \n\n \\boxed{"


@pytest.fixture
def measured(tmp_path):
    """A root with one evaluation: the first sum unfinished, the others right."""
    section = gate(files(tmp_path / "data"))
    answer = right(section)

    def say(request):
        if request.prompt.startswith("What is 0"):
            return done("", HOSTILE, "length", tokens=77)
        return answer(request)

    measure(Scripted(say), section, tmp_path)
    return tmp_path


def places(root, task=MATH):
    return [str(path) for path in (root / "run/bf16" / task).iterdir()]


def test_lm_evals_own_helpers_know_the_files(measured):
    from lm_eval import utils

    names = places(measured)
    [results], [samples] = utils.get_results_filenames(names), utils.get_sample_results_filenames(names)
    assert utils.get_latest_filename([results]) == results
    assert utils.get_file_task_name(Path(samples).name) == MATH
    assert utils.get_file_datetime(Path(samples).name) == utils.get_file_datetime(Path(results).stem)
    assert len(names) == 2


def test_datasets_reads_every_column(measured):
    import datasets

    [path] = [name for name in places(measured) if "/samples_" in name]
    rows = datasets.load_dataset("json", data_files=path, split="train", cache_dir=str(measured / "cache"))
    assert rows.num_rows == 3 and rows["seeds"] == [[40, 41]] * 3
    assert rows["finishes"][0] == ["length"] * 2 and rows["tokens"][0] == [77, 77]
    assert rows["marks"] == [["unfinished"] * 2, ["right"] * 2, ["right"] * 2]
    assert json.loads(rows["resps"][0][0][1])["reasoning"] == HOSTILE
    assert rows["avg_at_k"] == [0, 1, 1]


def test_results_hold_what_simple_evaluate_and_the_tracker_write(measured):
    """Key for key, whatever lm-eval's version calls them; and they are true."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker

    from evals import benchmarks, lm

    section = gate(files(measured / "again"))
    config = lm.config(section.tasks[0], section, measuring.verifier, benchmarks.problems(section.tasks[0]))
    answer = right(section)
    model = lm.EngineLM(lambda requests: {request.id: answer(request) for request in requests}, "bf16", 40)
    tracker = EvaluationTracker(output_path=str(measured / "theirs"))
    theirs = lm_eval.simple_evaluate(
        model=model, tasks=[lm.GateRun(config=config)], task_manager=lm_eval.tasks.TaskManager(include_defaults=False),
        evaluation_tracker=tracker, apply_chat_template=True, bootstrap_iters=0,
    )  # fmt: skip
    samples = theirs.pop("samples")
    tracker.save_results_aggregated(results=theirs, samples=samples)
    tracker.save_results_samples(MATH, samples[MATH])
    [their_results] = (measured / "theirs").rglob("results_*.json")
    [their_samples] = (measured / "theirs").rglob("samples_*.jsonl")
    [results], [lines] = ([name for name in places(measured) if kind in name] for kind in ("/results_", "/samples_"))
    ours, wanted = json.loads(Path(results).read_text()), json.loads(their_results.read_text())
    assert set(ours) == set(wanted) | {"distill"}
    assert set(ours["config"]) >= set(wanted["config"])
    assert set(ours["configs"][MATH]) == set(wanted["configs"][MATH])
    first, other = (json.loads(Path(path).read_text().splitlines()[0]) for path in (lines, their_samples))
    assert set(first) == set(other) | {"seeds", "marks", "finishes", "tokens"}
    assert first["arguments"] == other["arguments"] and first["doc_hash"] == other["doc_hash"]
    assert ours["n-samples"] == wanted["n-samples"] == {MATH: {"original": 3, "effective": 3}}


def test_results_say_who_was_asked_how(measured):
    [path] = [name for name in places(measured) if "/results_" in name]
    told = json.loads(Path(path).read_text())
    assert told["distill"]["seeds"] == [40, 41] and told["distill"]["model_content"] == "m"
    assert told["distill"]["engines"] == ["Scripted"] and told["distill"]["served"] == ["scripted"]
    assert told["config"]["model_sha"] == "m" and told["config"]["random_seed"] is None
    assert told["config"]["gen_kwargs"] == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 77}
    values = told["results"][MATH]
    assert values["avg_at_k,judged"] == pytest.approx(2 / 3) and values["avg_at_k_stderr,judged"] == pytest.approx(
        1 / 3
    )
    assert " at 0x" not in Path(path).read_text()


def test_only_the_newest_pair_stays(measured):
    before = set(places(measured))
    section = gate(files(measured / "more"), repeats=3)
    measure(Scripted(right(section)), section, measured)
    after = set(places(measured))
    assert len(after) == 2 and not before & after
    measure(Scripted(right(section)), gate(files(measured / "back")), measured)
    assert set(places(measured)) == before, "the pair is that of the score, also where it came out of the store"


def test_samples_come_back_as_they_were(measured):
    samples = list(read_samples(measured / "run/bf16", MATH))
    assert [sample.seed for sample in samples] == [40, 41] * 3
    first = samples[0]
    assert isinstance(first, Sample) and first.task == MATH and first.mark == "unfinished"
    assert first.completion == done("", HOSTILE, "length", tokens=77)
    assert first.prompt.startswith("What is 0 + 0?") and first.target == "0"
    assert {sample.mark for sample in samples[2:]} == {"right"}
    assert len({sample.problem_id for sample in samples}) == 3


def test_the_newest_samples_are_read_and_none_where_none_are(measured):
    folder = measured / "run/bf16"
    newest = samples_file(folder, MATH)
    assert newest is not None
    (newest.parent / f"samples_{MATH}_2001-01-01T00-00-00.000000.jsonl").write_text("old\n")
    (newest.parent / f"samples_{MATH}_2999-01-01T00-00-00.000000.jsonl.partial").write_text("torn")
    assert samples_file(folder, MATH) == newest
    assert samples_file(folder, "distill_aime24") is None and list(read_samples(folder, "distill_aime24")) == []


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "null",
        "{}",
        '{"resps": [], "doc": {}}',
        "\x00",
        '{"resps": [["{}"]], "doc": {"id": 1, "ask": 1}}',
        "[" * 100_000,
    ],
)
def test_a_broken_samples_file_is_told_by_its_line(measured, line):
    path = samples_file(measured / "run/bf16", MATH)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line]) + "\n")
    found = read_samples(measured / "run/bf16", MATH)
    assert [next(found).seed, next(found).seed] == [40, 41]
    with pytest.raises(ShardError, match="line 2"):
        next(found)


def test_samples_with_another_number_of_marks_are_broken(measured):
    path = samples_file(measured / "run/bf16", MATH)
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"marks": ["right"]}) + "\n")
    with pytest.raises(ShardError, match="line 1"):
        list(read_samples(measured / "run/bf16", MATH))
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ShardError, match="line 1"):
        list(read_samples(measured / "run/bf16", MATH))
