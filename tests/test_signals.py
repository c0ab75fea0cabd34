"""The cache of signals: what goes in comes out to within its quantization, whatever happens to the writing process."""

import json
import os
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.errors import ShardError
from distill.signals import Signal, Signals, SignalSettings, SignalWriter, bits

V = 1000
ALL = SignalSettings(k=V, mass=1.0, kl_nats=0.0)


def whole(logprobs_NV: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(logprobs_NV.shape[1]), logprobs_NV.shape)


def random_rows(count: int, vocabulary: int = V, scale: float = 5.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits_NV = rng.standard_normal((count, vocabulary)) * rng.uniform(0.3, scale, (count, 1))
    logprobs_NV = logits_NV - np.log(np.exp(logits_NV).sum(1, keepdims=True))
    return rng.integers(0, vocabulary, count), logprobs_NV


def kept(folder: Path, *arrays: Any, vocabulary: int = V, settings: SignalSettings | None = None) -> Signal:
    writer = SignalWriter(folder, vocabulary=vocabulary, settings=settings or SignalSettings(), facts={})
    writer.add("one", *arrays)
    writer.close()
    return Signals(folder).read("one")


def restored(signal: Signal, vocabulary: int = V) -> np.ndarray:
    rows = []
    for ids_K, logprobs_K, tail in zip(signal.ids_NK, signal.logprobs_NK, signal.tail_N, strict=True):
        used_K = ids_K >= 0
        row_V = np.full(vocabulary, np.exp(float(tail)) / max(vocabulary - used_K.sum(), 1))
        row_V[ids_K[used_K]] = np.exp(logprobs_K[used_K].astype(float))
        rows.append(row_V)
    return np.stack(rows)


def divergences(logprobs_NV: np.ndarray, signal: Signal) -> np.ndarray:
    masses_NV, restored_NV = np.exp(logprobs_NV), restored(signal, logprobs_NV.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        terms_NV = masses_NV * (logprobs_NV - np.log(restored_NV))
    return np.where(masses_NV > 0, terms_NV, 0.0).sum(1)


def begun(folder: Path, settings: SignalSettings | None = None, vocabulary: int = V) -> SignalWriter:
    return SignalWriter(folder, vocabulary=vocabulary, settings=settings or SignalSettings(), facts={"teacher": "t"})


def add(writer: SignalWriter, name: str, seed: int, count: int = 7) -> None:
    targets_N, logprobs_NV = random_rows(count, seed=seed)
    writer.add(name, targets_N, whole(logprobs_NV), logprobs_NV)


def equal(one: Signal, other: Signal) -> bool:
    return all(np.array_equal(vars(one)[name], vars(other)[name]) for name in vars(one))


@pytest.mark.parametrize("values", [[], [0], [5], [0, 0, 3, 0, 900, 1]])
def test_unary_numbers_come_back(values: list[int]) -> None:
    packed = bits.pack_unary(np.array(values, dtype=np.int64))
    assert bits.read_unary(np.frombuffer(packed, dtype=np.uint8)).tolist() == values


def test_fields_of_any_width_come_back() -> None:
    rng = np.random.default_rng(3)
    widths_M = rng.integers(0, bits.MAX_WIDTH + 1, 5000)
    values_M = rng.integers(0, 2**24, 5000) & ((1 << widths_M) - 1)
    fields = bits.Fields(np.frombuffer(bits.pack_fields(values_M, widths_M), dtype=np.uint8))
    assert np.array_equal(np.concatenate([fields.take(widths_M[:77]), fields.take(widths_M[77:])]), values_M)


def test_rows_by_hand(tmp_path: Path) -> None:
    logs = np.log
    ids_NK = np.array([[7, 3, -1], [1, 2, -1], [4, -1, -1], [-1, -1, -1], [5, 6, 8]])
    logprobs_NK = np.full((5, 3), -np.inf)
    logprobs_NK[0, :2] = logs([0.9, 0.09])
    logprobs_NK[1, :2] = logs([0.5, 0.5])
    logprobs_NK[2, 0] = 0.0
    logprobs_NK[4] = logs([0.2, 0.7, 0.05])
    tail_N = np.array([logs(0.01), -np.inf, -np.inf, 0.0, logs(0.05)])
    signal = kept(tmp_path, np.array([7, 9, 4, 0, 6]), ids_NK, logprobs_NK, tail_N, settings=ALL)
    assert signal.targets_N.tolist() == [7, 9, 4, 0, 6]
    assert signal.ids_NK.tolist() == [[7, 3, -1], [1, 2, -1], [4, -1, -1], [-1, -1, -1], [6, 5, 8]]
    assert signal.known_N.all()
    assert np.allclose(np.exp(signal.tail_N), [0.01, 0, 0, 1, 0.05], rtol=0.06)
    assert np.allclose(np.exp(signal.logprobs_NK[1, :2]), 0.5, rtol=5e-4)  # a step is 2^-12
    assert signal.logprobs_NK[2, 0] == 0
    assert np.allclose(np.exp(signal.logprobs_NK[4]), [0.7, 0.2, 0.05], rtol=5e-3)
    assert np.allclose(restored(signal).sum(1), 1, atol=1e-6)


def test_all_of_a_small_vocabulary_is_exact_to_the_quantization(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(20, vocabulary=30, scale=2.0)
    settings = SignalSettings(k=30, mass=1.0, kl_nats=0.0)
    signal = kept(tmp_path, targets_N, whole(logprobs_NV), logprobs_NV, vocabulary=30, settings=settings)
    assert signal.ids_NK.shape == (20, 30)
    assert np.isneginf(signal.tail_N).all()
    errors = np.abs(np.log(restored(signal, 30)) - logprobs_NV)[logprobs_NV > -9]
    assert errors.max() < 0.03
    assert divergences(logprobs_NV, signal).max() < 1e-6


@pytest.mark.parametrize("scale", [1.0, 3.0, 9.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_divergence_stays_within_what_is_stated_and_is_what_the_facts_say(
    tmp_path: Path, scale: float, seed: int
) -> None:
    targets_N, logprobs_NV = random_rows(64, scale=scale, seed=seed)
    settings = SignalSettings(k=V, mass=1.0, kl_nats=2e-3)
    signal = kept(tmp_path, targets_N, whole(logprobs_NV), logprobs_NV, settings=settings)
    mean = divergences(logprobs_NV, signal).mean()
    assert 5e-4 < mean <= 2e-3
    assert Signals(tmp_path).facts["kl_nats"] == pytest.approx(mean, rel=1e-3)


def test_a_small_divergence_takes_more_bytes(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(64, scale=4.0)
    sizes = []
    for at, nats in enumerate((3e-1, 1e-1, 3e-2)):
        kept(tmp_path / str(at), targets_N, whole(logprobs_NV), logprobs_NV, settings=SignalSettings(kl_nats=nats))
        sizes.append(Signals(tmp_path / str(at)).facts["bytes_per_token"])
    assert sizes[0] < 0.8 * sizes[1] < 0.6 * sizes[2]


def test_as_many_tokens_as_carry_the_mass_and_no_more_than_k(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(50, scale=9.0)
    settings = SignalSettings(k=40, mass=0.9, kl_nats=0.0)
    signal = kept(tmp_path, targets_N, whole(logprobs_NV), logprobs_NV, settings=settings)
    sorted_NV = -np.sort(-np.exp(logprobs_NV), axis=1)
    needed_N = np.minimum((np.cumsum(sorted_NV, axis=1) < 0.9).sum(1) + 1, 40)
    assert ((signal.ids_NK >= 0).sum(1) == needed_N).all()
    assert needed_N.min() < 10 and needed_N.max() == 40
    for row_V, ids_K in zip(logprobs_NV, signal.ids_NK, strict=True):
        kept_ids = ids_K[ids_K >= 0]
        assert set(kept_ids.tolist()) == set(np.argsort(-row_V)[: len(kept_ids)].tolist())
        assert kept_ids[0] == row_V.argmax()


def test_top_k_rows_in_any_order_are_the_whole_ones(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(30, scale=9.0)
    order_NK = np.random.default_rng(2).permuted(np.argsort(-logprobs_NV, axis=1)[:, :200], axis=1)
    logprobs_NK = np.take_along_axis(logprobs_NV, order_NK, 1)
    settings = SignalSettings(k=200, mass=0.99, kl_nats=0.0)
    one = kept(tmp_path / "whole", targets_N, whole(logprobs_NV), logprobs_NV, settings=settings)
    other = kept(tmp_path / "top", targets_N, order_NK, logprobs_NK, settings=settings)
    assert equal(one, other)


def test_equal_masses_are_restored_equal(tmp_path: Path) -> None:
    logprobs_NV = np.full((3, V), -np.log(V))
    signal = kept(tmp_path, np.zeros(3, dtype=int), whole(logprobs_NV), logprobs_NV, settings=ALL)
    assert divergences(logprobs_NV, signal).max() < 1e-6


def test_what_is_missing_to_1_is_the_tail(tmp_path: Path) -> None:
    ids_NK, logprobs_NK = np.array([[3, 4], [3, 4]]), np.log([[0.6, 0.3], [0.5, 0.5 - 1e-9]])
    signal = kept(tmp_path, np.array([3, 3]), ids_NK, logprobs_NK)
    assert np.exp(signal.tail_N[0]) == pytest.approx(0.1, rel=0.06)
    assert -25 < signal.tail_N[1] < -18, "lost to rounding, but there"


def test_positions_without_a_signal(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(9)
    known_N = np.arange(9) % 3 != 1
    logprobs_NV[~known_N] = np.nan
    signal = kept(tmp_path, targets_N, whole(logprobs_NV), logprobs_NV, None, known_N)
    assert np.array_equal(signal.known_N, known_N)
    assert np.array_equal(signal.targets_N, targets_N)
    assert (signal.ids_NK[~known_N] == -1).all() and (signal.ids_NK[known_N, 0] >= 0).all()
    facts = Signals(tmp_path).facts
    assert (facts["traces"], facts["tokens"], facts["known_tokens"]) == (1, 9, 6)


def test_slices_are_slices_of_the_whole(tmp_path: Path) -> None:
    targets_N, logprobs_NV = random_rows(40, scale=9.0)
    signal = kept(tmp_path, targets_N, whole(logprobs_NV), logprobs_NV, None, np.arange(40) % 7 != 0)
    signals, rng = Signals(tmp_path), np.random.default_rng(4)
    spans = [(0, None), (5, 5), (39, 40), (40, None), (0, 1), (12, 10)]
    for start, stop in [*spans, *(sorted(rng.integers(0, 41, 2)) for _ in range(30))]:
        part = signals.read("one", start, stop)
        width = part.ids_NK.shape[1]
        assert np.array_equal(part.ids_NK, signal.ids_NK[start:stop, :width])
        assert np.array_equal(part.logprobs_NK, signal.logprobs_NK[start:stop, :width])
        assert (signal.ids_NK[start:stop, width:] == -1).all()
        for name in ("targets_N", "tail_N", "known_N"):
            assert np.array_equal(vars(part)[name], vars(signal)[name][start:stop])


def test_a_trace_of_no_tokens_and_a_folder_of_no_traces(tmp_path: Path) -> None:
    nothing = np.zeros((0, 4))
    signal = kept(tmp_path / "one", np.zeros(0, dtype=int), nothing.astype(int), nothing)
    assert signal.ids_NK.shape == (0, 0)
    assert begun(tmp_path / "none").close()["traces"] == 0
    assert len(Signals(tmp_path / "none")) == 0 and "one" not in Signals(tmp_path / "none")


def test_traces_are_found_by_their_ids(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    for at in range(30):
        add(writer, f"trace {at} – ü", at, count=at % 5)
    facts = writer.close()
    signals = Signals(tmp_path)
    assert len(signals) == 30 and facts == signals.facts and facts["teacher"] == "t"
    assert facts["bytes"] == sum((tmp_path / name).stat().st_size for name in ("signals.bin",)) + 30 * 16
    for at in range(30):
        assert f"trace {at} – ü" in signals
        assert np.array_equal(signals.read(f"trace {at} – ü").targets_N, random_rows(at % 5, seed=at)[0])
    assert "trace 30 – ü" not in signals and 7 not in signals
    with pytest.raises(KeyError):
        signals.read("trace 30 – ü")


def test_a_torn_file_is_gone_on_with_wherever_it_is_torn(tmp_path: Path) -> None:
    writer, ends = begun(tmp_path / "whole"), []
    for at in range(4):
        ends.append((tmp_path / "whole" / "signals.bin").stat().st_size)
        add(writer, str(at), at)
    writer.close()
    data = (tmp_path / "whole" / "signals.bin").read_bytes()
    expected = [Signals(tmp_path / "whole").read(str(at)) for at in range(4)]
    for size in {*range(0, len(data), 499), *range(0, ends[0], 17), *(end + 1 for end in ends), *ends, len(data) - 1}:
        folder = tmp_path / f"torn-{size}"
        folder.mkdir()
        (folder / "signals.bin").write_bytes(data[:size])
        writer = begun(folder)
        assert writer.done == {str(at) for at, end in enumerate([*ends[1:], len(data)]) if end <= size}
        for at in range(4):
            if str(at) not in writer.done:
                add(writer, str(at), at)
        assert writer.close()["tokens"] == 28
        assert (folder / "signals.bin").read_bytes() == data
        assert all(equal(Signals(folder).read(str(at)), expected[at]) for at in range(4))


def test_a_last_trace_of_the_right_length_but_other_bytes_is_torn_too(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    for at in range(2):
        add(writer, str(at), at)
    path = tmp_path / "signals.bin"
    data = bytearray(path.read_bytes())
    data[-40:] = bytes(40)
    path.write_bytes(data)
    assert begun(tmp_path).done == {"0"}


def test_a_full_disk_is_an_error_and_leaves_a_folder_to_go_on_with(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    add(writer, "0", 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "signals.bin").stat().st_size + 50, hard))
    try:
        with pytest.raises(OSError):
            add(writer, "1", 1, count=200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.done == {"0"} == begun(tmp_path).done
    add(writer, "1", 1)
    writer.close()
    assert len(Signals(tmp_path).read("1").targets_N) == 7


def test_an_unsealed_folder_is_not_read_and_a_sealed_one_not_written(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    add(writer, "0", 0)
    with pytest.raises(ShardError, match="not sealed"):
        Signals(tmp_path)
    writer.close()
    with pytest.raises(ShardError, match="sealed already"):
        begun(tmp_path)


def test_a_folder_begun_with_other_settings_is_not_mixed(tmp_path: Path) -> None:
    add(begun(tmp_path), "0", 0)
    with pytest.raises(ShardError, match="other settings"):
        begun(tmp_path, SignalSettings(k=3))


@pytest.mark.parametrize("name", ["signals.bin", "index.npy", "manifest.json"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "gone"])
def test_a_damaged_folder_is_not_opened(tmp_path: Path, name: str, harm: str) -> None:
    writer = begun(tmp_path)
    add(writer, "0", 0)
    writer.close()
    path = tmp_path / name
    if harm == "gone":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - 5 if harm == "cut" else 0)
    with pytest.raises(ShardError):
        Signals(tmp_path)


def test_another_version_and_changed_bytes_are_refused(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    add(writer, "0", 0)
    writer.close()
    path, manifest = tmp_path / "signals.bin", tmp_path / "manifest.json"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match="damaged"):
        Signals(tmp_path).read("0")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": 99}))
    with pytest.raises(ShardError, match="version 99"):
        Signals(tmp_path)


def test_opening_and_reading_touch_no_more_than_the_trace(tmp_path: Path) -> None:
    writer = begun(tmp_path)
    add(writer, "0", 0)
    writer.close()
    path, manifest = tmp_path / "signals.bin", tmp_path / "manifest.json"
    stated = json.loads(manifest.read_text())
    size = 2**40  # a terabyte with nothing in it but the first trace: no machine that runs this could load it
    os.truncate(path, size)
    manifest.write_text(json.dumps(stated | {"bytes": size}))
    assert len(Signals(tmp_path).read("0").targets_N) == 7


GOOD = ([5, 6], [[5, 1], [6, 2]], [[-0.1, -3.0], [-0.1, -3.0]])


@pytest.mark.parametrize(
    ("targets", "ids", "logprobs", "tail", "says"),
    [
        (*GOOD[:2], [[-0.1, -3.0], [np.nan, -3.0]], None, "position 1 .*not a number"),
        (*GOOD[:2], [[0.5, -3.0], [-0.1, -3.0]], None, "position 0 .*above 0"),
        (*GOOD[:2], [[-0.1, -0.1], [-0.1, -3.0]], None, "position 0 .*mass of 1.8"),
        (*GOOD, [-0.1, -0.1], "position 0 .*mass of 1.8"),
        (*GOOD, [np.nan, -3.0], "position 0 .*tail that is not a number"),
        (GOOD[0], [[5, 1], [6, V]], GOOD[2], None, f"position 1 .*outside 0 to {V - 1}"),
        (GOOD[0], [[5, 1], [6, -2]], GOOD[2], None, "position 1 .*outside"),
        (GOOD[0], [[5, 1], [6, 6]], GOOD[2], None, "position 1 .*twice"),
        ([5, V], *GOOD[1:], None, "target lies outside"),
        ([5], *GOOD[1:], None, "do not fit"),
        (GOOD[0], [[5], [6]], GOOD[2], None, "do not fit"),
        (*GOOD, [-3.0], "do not fit"),
        ([5.0, 6.0], *GOOD[1:], None, "whole numbers"),
    ],
)
def test_what_is_no_distribution_is_refused(
    tmp_path: Path, targets: Any, ids: Any, logprobs: Any, tail: Any, says: str
) -> None:
    writer = begun(tmp_path)
    tail_N = None if tail is None else np.array(tail)
    with pytest.raises(ValueError, match=says):
        writer.add("bad", np.array(targets), np.array(ids), np.array(logprobs), tail_N)
    writer.add("bad", *(np.array(part) for part in GOOD))
    with pytest.raises(ValueError, match="already"):
        writer.add("bad", *(np.array(part) for part in GOOD))
    assert writer.close()["traces"] == 1


@pytest.mark.parametrize("changed", [{"k": 0}, {"mass": 0.0}, {"mass": 1.1}, {"kl_nats": -1.0}])
def test_settings_that_cannot_be(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        SignalSettings(**changed)


def test_a_million_ids_in_a_large_vocabulary_come_back(tmp_path: Path) -> None:
    """Every width and both forms of ids: tokens that recur in the trace, and tokens that do not."""
    rng, vocabulary = np.random.default_rng(5), 151_936
    for name, pool in (("recurring", 300), ("spread", vocabulary)):
        counts_N = rng.integers(1, 200, 300)
        ids_NK = np.full((300, 200), -1)
        for row_K, count in zip(ids_NK, counts_N, strict=True):
            row_K[:count] = rng.choice(pool, count, replace=False)
        masses_NK = np.where(ids_NK >= 0, rng.exponential(size=(300, 200)) + 0.05, 0)
        masses_NK /= masses_NK.sum(1, keepdims=True)
        with np.errstate(divide="ignore"):
            given = (ids_NK[:, 0], ids_NK, np.log(masses_NK), np.full(300, -np.inf))
        signal = kept(tmp_path / name, *given, vocabulary=vocabulary, settings=ALL)
        for row_K, ids_K in zip(ids_NK, signal.ids_NK, strict=True):
            assert set(ids_K.tolist()) - {-1} == set(row_K.tolist()) - {-1}
    sizes = [(tmp_path / name / "signals.bin").stat().st_size for name in ("recurring", "spread")]
    assert sizes[0] < 0.7 * sizes[1]
