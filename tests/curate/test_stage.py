"""The whole stage: streams, cores, counts, the judge, and what a killed or broken process leaves behind."""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from distill import shards
from distill.curate import report
from distill.curate.stage import Job, curate
from distill.curate.verify import VerifierPool
from distill.curate_sections import Curate
from distill.errors import DistillError, InputError
from distill.records import REASONS, Dropped, Judgement, Kept, Problem, Trace
from distill.student_sections import Student

_spec = importlib.util.spec_from_file_location("curate_stages", Path(__file__).with_name("stages.py"))
assert _spec is not None and _spec.loader is not None
stages = importlib.util.module_from_spec(_spec)
sys.modules["curate_stages"] = stages  # dataclasses look their module up
_spec.loader.exec_module(stages)
run, trace = stages.run, stages.trace

ROOT = Path(__file__).resolve().parents[2]
WORDS = "apple river stone cloud winter garden paper candle silver meadow window letter barrel copper violin".split()


def many(count: int) -> list[Trace]:
    """Traces of different problems with different words, every fifth of them wrong."""
    made = []
    for at in range(count):
        words = " ".join(random.Random(at).choices(WORDS, k=29))
        prompt = f"Add {at} and {at + 1} to the {words}: what is the sum?"
        answer = f"\\boxed{{{2 * at + 1 + (at % 5 == 4)}}}"
        made.append(trace(f"First {at}, then {words}.", answer, prompt, gold=str(2 * at + 1), source=f"set-{at % 3}"))
    return made


def test_counts_by_reason_source_and_task_and_the_records_beside_them(tmp_path: Path) -> None:
    asked = "A farmer has seven red hens and sells three of them on Monday; how many hens are left?"
    bad = trace("Seven less three.", "\\boxed{4}", f"Say: {asked}", source="other")
    got = run(tmp_path, [*many(20), bad], prompts={"distill_gsm8k": [asked, "What is two plus two?"]})
    assert got.facts["read"] == 21 and got.facts["kept"] == 16
    assert got.facts["dropped"] == {"contaminated": 1, "wrong_answer": 4}
    assert got.facts["by_task"] == {"distill_gsm8k": {"ngram": 1}}
    assert got.facts["by_source"]["other"] == {"read": 1, "kept": 0, "dropped": {"contaminated": 1}}
    assert sum(one["kept"] for one in got.facts["by_source"].values()) == 16
    assert got.facts["tokens"] == sum(one.tokens for one in got.kept) > 0
    found = next(one for one in got.dropped if one.reason == "contaminated")
    assert found.beside == asked and found.detail.startswith("distill_gsm8k, ngram: ")
    line = json.loads((got.folder / "contamination.jsonl").read_text())
    assert line["trace"] == bad.id and line["theirs"] == asked and line["task"] == "distill_gsm8k"
    assert not list(got.folder.glob("*.partial")) and not (got.folder / "looking.json").exists()
    wrong = next(one for one in got.dropped if one.reason == "wrong_answer")
    assert [(ruling.by, ruling.right) for ruling in wrong.rulings] == [("rule", False)]


def test_what_is_kept_reads_as_traces_in_their_order_and_with_their_rulings(tmp_path: Path) -> None:
    traces = many(20)
    got = run(tmp_path, traces)
    assert list(shards.read_parts(got.folder, Trace)) == [one for at, one in enumerate(traces) if at % 5 != 4]
    assert all([(ruling.by, ruling.right) for ruling in one.rulings] == [("rule", True)] for one in got.kept)
    assert got.verdicts(traces)[4].reason == "wrong_answer"


@pytest.mark.slow
def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    traces = many(1100)  # three row groups
    alone = run(tmp_path / "alone", traces, workers=1)
    together = run(tmp_path / "together", traces, workers=2)
    assert together.facts == alone.facts and alone.facts["kept"] > 800
    assert together.kept == alone.kept and together.dropped == alone.dropped


def test_nothing_to_curate_is_no_crash(tmp_path: Path) -> None:
    got = run(tmp_path, [])
    assert got.facts["read"] == got.facts["kept"] == 0 and got.kept == [] and got.dropped == []


HOSTILE = [
    trace("\x00\ud800 think", "\\boxed{\ud800}"),
    trace("7" * 300_000, "\\boxed{4}", seed=1),
    trace("<" * 300_000, "{" * 100_000, seed=2),
    trace("Fine.", "\\boxed{9^{9^{9^{9}}}}", seed=3, gold="x^2"),
    trace("漢" * 50_000, "\\boxed{4}", seed=4),
    trace("\n" * 300_000 + "so", "\\boxed{4}", seed=5),
    trace("Fine.", "\\boxed{" * 20_000, seed=6, gold="\\frac{1}{2}"),
]


def test_hostile_traces_stop_nothing_and_are_never_right(tmp_path: Path) -> None:
    fine = trace("Two and two make four.", seed=99)
    traces = [_storable(one) for one in HOSTILE]
    with VerifierPool(workers=1, timeout_s=2) as pool:
        got = run(tmp_path, [*traces, fine], verifier=pool)
    assert got.facts["read"] == len(traces) + 1
    assert fine.id in {one.id for one in got.kept}
    assert not {one.id for one in got.kept} & {traces[0].id, traces[2].id, traces[3].id, traces[-1].id}


def _storable(one: Trace) -> Trace:
    """A trace as a parquet file can hold it: lone surrogates never get that far."""
    clean = [text.encode("utf-8", "replace").decode() for text in (one.completion.reasoning, one.completion.answer)]
    return trace(clean[0], clean[1], one.problem.prompt, seed=one.seed, gold=one.problem.answer)


def test_a_verifier_that_cannot_work_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    odd = trace("So.", "\\boxed{\\frac{2}{4}}", gold="\\frac{1}{2}")
    with VerifierPool(workers=1, memory_mb=20) as pool, pytest.raises(DistillError, match="cannot start"):
        run(tmp_path, [odd], verifier=pool)
    assert not list(tmp_path.glob("kept/part-*")) and not list(tmp_path.glob("kept/dropped/part-*"))


def test_answers_that_the_verifier_cannot_tell_are_unverifiable(tmp_path: Path) -> None:
    def unable(answers: Sequence[tuple[Problem, str]]) -> list[Judgement]:
        return [Judgement(None, "took longer than 5 s") for _ in answers]

    got = run(tmp_path, many(5), verifier=unable)
    assert {one.reason for one in got.dropped} == {"unverifiable"} and got.facts["kept"] == 0


def test_a_filter_that_took_much_says_what_to_do(tmp_path: Path) -> None:
    traces = [trace(f"Way {at}: {WORDS[at]}.", "\\boxed{5}", seed=at) for at in range(10)]
    got = run(tmp_path, traces, warn_share=0.5)
    assert any(line.startswith("  wrong_answer took 100% of the traces: look at them") for line in got.said)
    assert not any("took" in line for line in run(tmp_path / "more", many(10), warn_share=0.5).said)


def test_every_reason_has_its_advice() -> None:
    assert set(report.ADVICE) == set(REASONS)


def test_a_student_without_a_tokenizer_is_said_before_anything_is_read(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    shards.write_parts(tmp_path / "traces", many(3), Trace)
    job = Job(
        section=Curate(),
        student=Student(base=str(base)),
        prompts={},
        traces=tmp_path / "traces",
        folder=tmp_path / "kept",
        votes=tmp_path / "votes.jsonl",
        verifier=stages.here,
        say=lambda line: None,
    )
    with pytest.raises(InputError, match=r"has no tokenizer.json"):
        curate(job)


def test_a_killed_curation_leaves_no_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    shards.write_parts(tmp_path / "traces", many(1500), Trace)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from pathlib import Path
            from distill.curate.stage import Job, curate
            from distill.curate_sections import Curate
            from distill.records import Judgement
            from distill.student_sections import Student

            def slow(answers):
                print("judging", flush=True)
                time.sleep(30)
                return [Judgement(True) for _ in answers]

            if __name__ == "__main__":
                here = Path(sys.argv[1])
                curate(Job(Curate(workers=2), Student(base="bundled:base"), {}, here / "traces", here / "kept",
                           here / "votes.jsonl", slow, print))
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, script, tmp_path], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"judging\n"
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 120
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < end, "a process stayed behind"
        time.sleep(0.05)
    got = run(tmp_path, many(30))
    assert got.facts["read"] == 30 and len(list(shards.read_parts(got.folder, Kept))) == got.facts["kept"]
    assert sum(1 for _ in shards.read_parts(got.folder / "dropped", Dropped)) == 30 - got.facts["kept"]
