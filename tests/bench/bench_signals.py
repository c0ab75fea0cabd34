"""Bytes per token of the cache of signals, and the KL divergence between the full distribution and the restored one.

    python tests/bench/bench_signals.py [--rows 192] [--problems 40] [--positions 40000]

Distributions over 151,936 tokens are generated, each position with its own tokens in its own order, and scaled by a
temperature to an entropy of its own: log-normal, most far below the stated mean and a few up to 3.5 nats.

    candidates  100 tokens that fall with the logarithm of their rank, all others normal, 26 +- 2 below (s.d. 2.5)
    zipf        the same fall over the whole vocabulary
    gauss       every logit from one normal distribution, so that the likeliest are the end of the bulk

The stated figures are those of the candidates, at 0.5 nat. The others' tails are so heavy that the ids alone of
what would have to be kept take more bytes; they say what is lost then. `plain` is the usual form: the 128 likeliest,
32-bit ids and 16-bit logarithms.
In both forms the tail's mass is spread evenly over all tokens that are not kept. The bundled teacher's traces are
sampled, then scored in one pass each. Speeds are processor time of one core, from and to the likeliest 256.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from distill.signals import Signals, SignalSettings, SignalWriter

VOCABULARY = 151_936
PLAIN_K = 128
PLAIN_BYTES = 4 + PLAIN_K * (4 + 2)
"""The token of the trace itself, which the cache has too, and the pairs."""

CANDIDATES = 100
OPEN = 3.5
"""The highest entropy, in nats."""

ROWS_PER_TRACE = 64
TRACE = 2000
RECIPES = Path(__file__).resolve().parents[2] / "distill" / "recipes"


@dataclass
class Figures:
    bytes_per_token: float
    kl_nats: float
    plain_kl_nats: float
    entropy_nats: float
    kept_per_token: float

    plain_bytes_per_token: float = PLAIN_BYTES


def entropies(count: int, mean: float, rng: np.random.Generator) -> np.ndarray:
    """One entropy a position, in nats, with this mean."""
    drawn = np.exp(rng.normal(np.log(0.01), 5.0, count))
    lowest, highest = 1e-3, 1e3
    for _ in range(60):
        scale = np.sqrt(lowest * highest)
        lowest, highest = (scale, highest) if np.clip(drawn * scale, 1e-3, OPEN).mean() < mean else (lowest, scale)
    return np.clip(drawn * scale, 1e-3, OPEN)


def row(kind: str, entropy: float, rng: np.random.Generator) -> np.ndarray:
    """The log-probabilities of one position."""
    noise_V = rng.standard_normal(VOCABULARY, dtype=np.float32)
    if kind == "gauss":
        return at_entropy(noise_V, entropy)
    rank_V = np.arange(1, VOCABULARY + 1, dtype=np.float32)
    if kind == "zipf":
        return rng.permutation(at_entropy(0.3 * noise_V - np.log(rank_V), entropy))
    likely = at_entropy(0.3 * noise_V[:CANDIDATES] - np.log(rank_V[:CANDIDATES]), entropy)
    logits_V = 2.5 * noise_V.astype(np.float64) + likely.max() - rng.normal(26, 2)
    logits_V[:CANDIDATES] = likely
    return rng.permutation(logits_V - np.log(np.exp(logits_V).sum()))


def at_entropy(logits_V: np.ndarray, entropy: float) -> np.ndarray:
    """Log-probabilities with this entropy, by a temperature."""
    logits_V = logits_V - logits_V.max()
    lowest, highest = -2.0, 5.0
    for _ in range(16):
        middle = (lowest + highest) / 2
        scaled_V = logits_V * np.float32(np.exp(middle))
        weights_V = np.exp(scaled_V)
        total = float(weights_V.sum(dtype=np.float64))
        found = np.log(total) - float(weights_V @ scaled_V) / total
        lowest, highest = (middle, highest) if found > entropy else (lowest, middle)
    scaled_V = (logits_V * np.float32(np.exp(highest))).astype(np.float64)
    return scaled_V - np.log(np.exp(scaled_V).sum())


def generated(kind: str, count: int, mean: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Traces as targets, drawn from the rows, and full rows of log-probabilities."""
    rng = np.random.default_rng(7)
    wanted = entropies(count, mean, rng)
    for at in range(0, count, ROWS_PER_TRACE):
        rows_NV = np.stack([row(kind, value, rng) for value in wanted[at : at + ROWS_PER_TRACE]])
        drawn_N = [np.searchsorted(np.cumsum(np.exp(row_V)), rng.random()) for row_V in rows_NV]
        yield np.minimum(drawn_N, VOCABULARY - 1), rows_NV


def bundled(count: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """The bundled teacher's own traces on the quickstart's problems, scored in one pass each, and its vocabulary."""
    import torch
    import yaml

    from distill import problems, prompts
    from distill.engines import local
    from distill.records import Completion, Request, Sampling
    from distill.sections import ReasoningGymProblems

    torch.set_num_threads(1)
    sections = yaml.safe_load((RECIPES / "quickstart.yaml").read_text(encoding="utf-8"))["problems"]
    asked = [ReasoningGymProblems(**section | {"size": count // len(sections)}) for section in sections]
    engine = local.load("bundled:teacher")
    found = problems.load(asked).problems
    requests = [Request(problem.id, problem.prompt, 1, Sampling(max_tokens=128)) for problem in found]
    traces, vocabulary = [], len(engine.tokenizer)
    for request, completion in engine.complete(requests):
        if not isinstance(completion, Completion):
            continue
        before = prompts.prompt_ids(engine.tokenizer, request.prompt)
        said = prompts.completion_ids(engine.tokenizer, request.prompt, completion.reasoning, completion.answer)
        with torch.inference_mode():
            logits_NV = engine.model(torch.tensor([before + said])).logits[0, len(before) - 1 : -1, :vocabulary]
        traces.append((np.array(said), torch.log_softmax(logits_NV.double(), -1).numpy()))
    return traces, vocabulary


def plain_kl(rows_NV: np.ndarray) -> float:
    """The sum over the rows of the divergence from the usual form."""
    size = rows_NV.shape[1]
    kept = min(PLAIN_K, size)
    top_NK = np.argpartition(rows_NV, -kept, axis=1)[:, -kept:]
    values_NK = np.take_along_axis(rows_NV, top_NK, 1).astype(np.float16).astype(np.float64)
    values_NK -= np.maximum(np.log(np.exp(values_NK).sum(1, keepdims=True)), 0)
    tails_N = np.log(np.maximum(1 - np.exp(values_NK).sum(1), 1e-9))
    return sum(map(divergence, rows_NV, top_NK, values_NK, tails_N))


def divergence(row_V: np.ndarray, ids_K: np.ndarray, logprobs_K: np.ndarray, tail: float) -> float:
    """KL(full || restored) in nats, over all tokens."""
    used_K = ids_K >= 0
    even = float(tail) - np.log(max(len(row_V) - int(used_K.sum()), 1))
    restored_V = np.full(len(row_V), even)
    restored_V[ids_K[used_K]] = logprobs_K[used_K]
    masses_V = np.exp(row_V)
    some_V = masses_V > 0
    return float((masses_V[some_V] * (row_V[some_V] - restored_V[some_V])).sum())


def speeds(positions: int, settings: SignalSettings) -> tuple[float, float]:
    """Tokens per second, written and read, in traces of 2,000 positions."""
    targets_N, rows_NV = next(generated("candidates", ROWS_PER_TRACE, 0.5))
    ids_NK = np.argpartition(rows_NV, -settings.k, axis=1)[:, -settings.k :]
    again_N = np.random.default_rng(1).integers(0, len(rows_NV), TRACE)
    given = (targets_N[again_N], ids_NK[again_N], np.take_along_axis(rows_NV, ids_NK, 1).astype(np.float32)[again_N])
    traces = max(positions // TRACE, 1)
    with tempfile.TemporaryDirectory() as name:
        writer = SignalWriter(Path(name), vocabulary=VOCABULARY, settings=settings, facts={})
        start = time.process_time()
        for at in range(traces):
            writer.add(f"trace-{at}", *given)
        wrote = time.process_time() - start
        writer.close()
        signals = Signals(Path(name))
        start = time.process_time()
        for at in range(traces):
            signals.read(f"trace-{at}")
        read = time.process_time() - start
    return traces * TRACE / wrote, traces * TRACE / read


def measured(traces: Iterable[tuple[np.ndarray, np.ndarray]], vocabulary: int, settings: SignalSettings) -> Figures:
    sums = {"kl": 0.0, "plain": 0.0, "entropy": 0.0}
    with tempfile.TemporaryDirectory() as name:
        writer = SignalWriter(Path(name), vocabulary=vocabulary, settings=settings, facts={})
        kept: list[np.ndarray] = []
        for at, (targets_N, rows_NV) in enumerate(traces):
            ids_NV = np.broadcast_to(np.arange(vocabulary, dtype=np.int32), rows_NV.shape)
            writer.add(f"trace-{at}", targets_N, ids_NV, rows_NV)
            kept.append(rows_NV)
        facts = writer.close()
        signals = Signals(Path(name))
        for at, rows_NV in enumerate(kept):
            signal = signals.read(f"trace-{at}")
            sums["kl"] += sum(map(divergence, rows_NV, signal.ids_NK, signal.logprobs_NK, signal.tail_N))
            sums["plain"] += plain_kl(rows_NV)
            sums["entropy"] -= float((np.exp(rows_NV) * np.maximum(rows_NV, -1e4)).sum())
    tokens = facts["tokens"]
    return Figures(
        bytes_per_token=facts["bytes_per_token"],
        kl_nats=sums["kl"] / tokens,
        plain_kl_nats=sums["plain"] / tokens,
        entropy_nats=sums["entropy"] / tokens,
        kept_per_token=facts["kept_per_token"],
    )


CASES = [("candidates", 0.2), ("candidates", 0.5), ("candidates", 1.0), ("zipf", 0.5), ("gauss", 0.5)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=192, help="positions of each generated case")
    parser.add_argument("--problems", type=int, default=40, help="problems that the bundled teacher is asked")
    parser.add_argument("--positions", type=int, default=40_000, help="positions written and read for the speeds")
    options = parser.parse_args()
    settings = SignalSettings()
    print(f"at most {settings.k} tokens, {settings.mass} of the mass, {settings.kl_nats} nats; plain: {PLAIN_K} tokens")
    print(f"{'':16}{'entropy':>9}{'kept':>8}{'bytes/token':>13}{'KL, nats':>11}{'plain bytes':>13}{'plain KL':>11}")
    said: dict[str, float] = {}

    def tell(name: str, prefix: str, found: Figures) -> None:
        print(
            f"{name:16}{found.entropy_nats:>9.3f}{found.kept_per_token:>8.1f}{found.bytes_per_token:>13.1f}"
            f"{found.kl_nats:>11.2e}{found.plain_bytes_per_token:>13.0f}{found.plain_kl_nats:>11.2e}"
        )
        said.update({f"{prefix}{key}": value for key, value in asdict(found).items()})

    traces, vocabulary = bundled(options.problems)
    tell("bundled teacher", "bundled_", measured(traces, vocabulary, settings))
    for kind, mean in CASES:
        stated = (kind, mean) == ("candidates", 0.5)
        found = measured(generated(kind, options.rows, mean), VOCABULARY, settings)
        tell(f"{kind} {mean}", "" if stated else f"{kind}_{mean}_", found)
    wrote, read = speeds(options.positions, settings)
    print(f"written {wrote:,.0f} tokens/s, read {read:,.0f} tokens/s")
    print(json.dumps(said | {"written_tokens_per_s": wrote, "read_tokens_per_s": read}))


if __name__ == "__main__":
    main()
