"""The benches run, small, and end with the JSON that they promise; what hangs on no clock is held to its figure."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent / "bench"


def figures(name: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, BENCH / name, *arguments], capture_output=True, text=True, cwd=BENCH.parents[1], timeout=240
    )
    assert done.returncode == 0, done.stderr
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


@pytest.mark.slow
def test_sampling_keeps_its_memory_however_many_answers_come() -> None:
    found = figures("bench_sampling.py", "--requests", "300", "--memory", "12000")
    assert found["memory_growth_mib"] < 40, "12,000 answers of 8 kB are 100 MB"
    assert found["requests_per_s"] > 0 and found["cpu_ms_per_request"] > 0
    peers = ("peer_requests_per_s", "peer_cpu_ms_per_request", "rate_ratio", "cpu_ratio")
    assert all(found[key] is None for key in peers)


def test_asking_only_where_it_is_needed_saves_tokens() -> None:
    found = figures("bench_attempts.py")
    assert found["simulated_ratio"] < 0.6
    assert found["ratio"] is None or found["ratio"] < 0.6


@pytest.mark.slow
def test_curation_at_size_finds_what_was_planted() -> None:
    found = figures("bench_curate.py", "--gb", "0.006")
    assert found["traces"] == 300 and found["traces_per_s"] > 0
    assert 0 < found["peak_mib"] < 2000


@pytest.mark.slow
def test_verification_is_never_more_lenient_than_math_verify() -> None:
    found = figures("bench_verify.py", "--runs", "1", "--repeat", "1")
    assert found["too_lenient"] == 0 and found["agreed"] > 0
    assert found["labels"] is None or found["labels_agreed"] == found["labels"]


@pytest.mark.slow
def test_decontamination_flags_what_the_reference_does_and_finds_all_of_r1s_problems() -> None:
    found = figures("bench_decontaminate.py", "--megabytes", "1", "--show", "0")
    assert found["mb_per_s"] > 0 and found["reference_mb_per_s"] > 0
    assert found["recall_gsm8k"] in (None, 1.0) and found["recall_math500"] in (None, 1.0)
    assert found["recall_paraphrased"] is None or found["recall_paraphrased"] >= 0.95


@pytest.mark.slow
def test_signals_are_small_and_lose_little() -> None:
    found = figures("bench_signals.py", "--rows", "32", "--problems", "6", "--positions", "2000")
    assert found["bytes_per_token"] <= 75 and found["kl_nats"] <= 1e-3
    assert found["bundled_kl_nats"] <= 1e-3 and found["candidates_0.2_kl_nats"] <= 1e-3
    assert found["plain_bytes_per_token"] > 300 and found["read_tokens_per_s"] > 0


@pytest.mark.slow
def test_training_side_by_side_says_null_for_a_peer_that_is_not_there() -> None:
    found = figures("bench_sft.py", "--size", "small", "--dtype", "float32", "--epochs", "1")
    assert found["tokens_per_s"] > 0 and found["peak_gib"] > 0 and found["prepare_tokens_per_s"] > 0
    assert found["loss_gap"] is None and found["ratio"] is None and found["peer_tokens_per_s"] is None


@pytest.mark.slow
def test_three_ways_of_distilling_are_compared_on_the_same_problems() -> None:
    size = ("--problems", "60", "--steps", "4", "--seeds", "1", "--held-out", "10", "--temperature", "1.0")
    found = figures("bench_distil.py", *size)
    assert found["teacher_right"] > 0.9
    assert all(0 <= found[arm]["accuracy"] <= 1 for arm in ("sft_all", "sft_verified", "kd"))
    assert found["tokens"]["kd"] == found["tokens"]["sft_verified"]


def test_the_gates_bench_prints_errors_power_savings_and_ways_to_spend_the_error() -> None:
    found = figures("bench_gate.py", "--runs", "60")
    terms = ("fixed", "sequential", "fixed_drop", "sequential_drop")
    assert all(0 <= found[f"false_pass_{term}"] < 0.3 for term in terms), "the worst of hundreds of 60 runs each"
    assert 0.5 < found["power_sequential"] <= 1 and 0.5 < found["power_foretold"] < 1 and "kept" in found
    assert 0.6 < found["saved_share"] < 0.9 and 0.6 < found["saved_share_drop"] < 0.9
    spent = found["spendings"]
    assert spent["pocock"]["asked"] < spent["ours"]["asked"] < spent["obrien_fleming"]["asked"] < 1
    passes = [spent[name]["passes"] for name in ("pocock", "ours", "obrien_fleming", "one_look")]
    assert passes == sorted(passes) and passes[-1] - passes[1] < 0.03


@pytest.mark.slow
def test_the_harness_bench_asks_both_sides_or_says_null_for_lm_eval() -> None:
    found = figures("bench_harness.py", "--samples", "8", "--batch", "4", "--rounds", "1")
    assert found["samples_per_s"] > 0
    assert (found["ratio"] is None) == (found["hf_samples_per_s"] is None)
    assert found["hf_samples_per_s"] is None or min(found["hf_samples_per_s"], found["ratio"]) > 0
