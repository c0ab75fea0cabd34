"""Decontamination: how fast texts are searched, and what is found, on real traces and benchmarks.

    python tests/bench/bench_decontaminate.py [--megabytes 30] [--show 5] [--peer-python PATH]

Speed is compared on one rule and the same text, that of open-r1's scripts/decontaminate.py: eight words in a row, in
lower case and with single spaces, in a Python set of those of GSM8K's test and MATH-500. Both must flag the same
texts. One core: this process is kept on one, both take turns, and each one's best of three counts. All cores: a process
on every core, and the time until the last one ends. Beside it stands the speed of the rule that curation uses.

Recall: R1's GSM8K and MATH traces are of problems of the gate, all of them; and 200 paraphrases by rule
(paraphrase.py), with every stage, and by likeness alone. False positives: the training parts of GSM8K and MATH
against their tests. Without the data folder beside the checkout the speed is that on random words, and the rest is
null.
"""

import argparse
import json
import multiprocessing
import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from paraphrase import paraphrase, small_words

from distill.curate.decontaminate import Index, Match
from distill.curate.ngrams import Form, Reader
from distill.curate.plain import encoded
from distill.curate.targets import Rule, Targets, Task
from distill.curate_sections import Decontaminate

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
NGRAM = 8
SPACES = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
LOWER = bytes(32 if byte in b"\t\n\v\f\r\x1c\x1d\x1e\x1f" else byte for byte in bytes(range(256)).lower())
Finder = Callable[[Sequence[str]], list[bool]]


def rows(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return list(json.loads(text)) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]


def column(name: str, key: str) -> list[str]:
    return [str(row[key]) for row in rows(name)]


def lineage() -> Iterator[str]:
    for size in (8, 64):
        for row in rows(f"r1_lineage_logic/r1_0528_lineage{size}_api_pairs.jsonl"):
            response = row["response"]
            message = (json.loads(response) if isinstance(response, str) else response)["choices"][0]["message"]
            yield f"{message['reasoning']}\n{message['content']}"


def real() -> tuple[list[str], list[str]]:
    """The gate's prompts and R1's traces, or random words in their place."""
    if not DATA.is_dir():
        drawn = random.Random(0)
        vocabulary = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(1, 9))) for _ in range(5000)]
        return tuple([" ".join(drawn.choices(vocabulary, k=k)) for _ in range(1800)] for k in (45, 800))  # type: ignore
    said = "deepseek-reasoner (question)"
    traces = [
        *column("r1_mip_gsm8k_math/gsm8k_normal_deepseekR1.json", said),
        *column("r1_mip_gsm8k_math/math_normal_deepseekR1.json", said),
        *lineage(),
    ]
    return [*column("gsm8k/test.jsonl", "question"), *column("math500/test.jsonl", "problem")], traces


def ngrams(text: str) -> list[str]:
    """open-r1's normalize_string and word_ngrams."""
    words = " ".join(text.lower().strip().split()).split()
    return [" ".join(words[at : at + NGRAM]) for at in range(len(words) - NGRAM + 1)]


def reference(prompts: Sequence[str]) -> Finder:
    lookup = {gram for prompt in prompts for gram in ngrams(prompt)}
    return lambda texts: [any(gram in lookup for gram in ngrams(text)) for text in texts]


def _lower(text: str) -> bytes:
    return encoded(text if text.isascii() else SPACES.sub(" ", text.lower()))


def ours(prompts: Sequence[str]) -> Finder:
    """The same rule in our hands."""
    targets = Targets(Reader(Form(_lower, LOWER)), [Task(prompts, frozenset())], Rule(NGRAM, None))
    return lambda texts: [shared is not None for shared in targets.find(texts)]


def curations(prompts: Sequence[str]) -> Finder:
    """What curation does with reasoning and answers."""
    index = Index({"gate": prompts}, Decontaminate())
    return lambda texts: [match is not None for match in index.find_texts(texts)]


def size(texts: Sequence[str]) -> float:
    return sum(len(encoded(text)) for text in texts) / 1e6


def on_one_core(finders: dict[str, Finder], texts: Sequence[str]) -> dict[str, float]:
    """Megabytes a second of each, taking turns on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    best = dict.fromkeys(finders, 0.0)
    flags: dict[str, list[bool]] = {}
    for _ in range(3):
        for name, find in finders.items():
            begun = time.perf_counter()
            flags[name] = find(texts)
            best[name] = max(best[name], size(texts) / (time.perf_counter() - begun))
    os.sched_setaffinity(0, cores)
    if flags["ours"] != flags["reference"]:
        raise SystemExit("the same rule flags other texts than the reference")
    print(f"{sum(flags['ours']):,} of {len(texts):,} texts are flagged by the rule of both")
    return best


def on_all_cores(find: Finder, texts: Sequence[str]) -> float:
    """Megabytes a second with a process on every core; each looks at its share of the texts."""
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    ready, go = context.Barrier(len(cores) + 1), context.Barrier(len(cores) + 1)

    def work(at: int) -> None:
        os.sched_setaffinity(0, {cores[at]})
        share = texts[at :: len(cores)]
        find(share[:50])
        ready.wait()
        go.wait()
        find(share)

    workers = [context.Process(target=work, args=(at,)) for at in range(len(cores))]
    for worker in workers:
        worker.start()
    ready.wait()
    begun = time.perf_counter()
    go.wait()
    for worker in workers:
        worker.join()
    return size(texts) / (time.perf_counter() - begun)


def speed(megabytes: float) -> dict[str, float | None]:
    prompts, traces = real()
    texts = list(traces)
    while size(texts) < megabytes:
        texts.extend(traces)
    print(
        f"{size(texts):.1f} MB in {len(texts):,} texts, {len(prompts):,} prompts, {len(os.sched_getaffinity(0))} cores"
    )
    finders = {"reference": reference(prompts), "ours": ours(prompts), "curation's own rule": curations(prompts)}
    one = on_one_core(finders, texts)
    every = {name: on_all_cores(find, texts) for name, find in finders.items()}
    print(f"{'MB/s':24}{'one core':>10}{'all cores':>11}")
    for name in finders:
        print(f"{name:24}{one[name]:>10.1f}{every[name]:>11.1f}")
    begun = time.perf_counter()
    Index({"gate": prompts * 5 + [f"{prompt} Why {at}?" for at, prompt in enumerate(prompts)]}, Decontaminate())
    return {
        "mb_per_s": one["ours"],
        "reference_mb_per_s": one["reference"],
        "ratio": one["ours"] / one["reference"],
        "mb_per_s_all_cores": every["ours"],
        "reference_mb_per_s_all_cores": every["reference"],
        "curation_mb_per_s": one["curation's own rule"],
        "curation_mb_per_s_all_cores": every["curation's own rule"],
        "build_s_of_10k_prompts": time.perf_counter() - begun,
    }


def paraphrased() -> tuple[float, float]:
    """The share of 200 paraphrases that are found, and the share that likeness alone finds."""
    drawn = random.Random(0)
    found, alone = 0, 0
    for name, key in (("gsm8k/test.jsonl", "question"), ("math500/test.jsonl", "problem")):
        prompts = column(name, key)
        chosen, small = drawn.sample(prompts, 100), small_words(prompts)
        reworded = [paraphrase(prompt, small, drawn) for prompt in chosen]
        matches = Index({name: prompts}, Decontaminate()).find_prompts(reworded)
        likes = Index({name: prompts}, Decontaminate(ngram=10_000)).find_prompts(reworded)
        found += sum(match is not None for match in matches)
        alone += sum(like is not None for like in likes)
        stages = Counter(match.stage if match else "not found" for match in matches)
        print(f"paraphrases of {name}: {', '.join(f'{count} {stage}' for stage, count in stages.most_common())}")
    return found / 200, alone / 200


def false_positives(gate: Sequence[str], train: Sequence[str], show: int) -> int:
    index = Index({"gate": gate}, Decontaminate())
    begun = time.perf_counter()
    matches = index.find_prompts(train)
    seconds = time.perf_counter() - begun
    pairs = [(prompt, match) for prompt, match in zip(train, matches, strict=True) if match is not None]
    stages = Counter(match.stage for _, match in pairs)
    print(
        f"{len(pairs)} of {len(train):,} training prompts flagged {dict(stages)}, {len(train) / seconds:,.0f} a second"
    )
    for prompt, match in random.Random(0).sample(pairs, min(show, len(pairs))):
        print(_beside(prompt, match))
    return len(pairs)


def _beside(prompt: str, match: Match) -> str:
    shown = [" ".join(text.split())[:220] for text in (prompt, match.theirs, match.ours)]
    return f"  {match.stage} {match.score:.2f}\n    ours:   {shown[0]}\n    theirs: {shown[1]}\n    shared: {shown[2]}"


def quality(show: int) -> dict[str, float | int | None]:
    keys = ("recall_gsm8k", "recall_math500", "recall_paraphrased", "recall_paraphrased_by_likeness")
    if not DATA.is_dir():
        return dict.fromkeys((*keys, "false_positives_gsm8k", "false_positives_math"))
    gsm8k, math = column("gsm8k/test.jsonl", "question"), column("math500/test.jsonl", "problem")
    traced = column("r1_mip_gsm8k_math/gsm8k_normal_deepseekR1.json", "question")
    del traced[66]  # an error of the server, no trace
    recall = []
    for gate, asked in ((gsm8k, traced), (math, column("r1_mip_gsm8k_math/math_normal_deepseekR1.json", "question"))):
        matches = Index({"gate": gate}, Decontaminate()).find_prompts(asked)
        recall.append(sum(match is not None for match in matches) / len(asked))
        print(f"R1's problems found: {sum(match is not None for match in matches)} of {len(asked)}")
    print("GSM8K train against test: ", end="")
    flagged = [false_positives(gsm8k, column("gsm8k/train.jsonl", "question"), show)]
    print("MATH train against MATH-500: ", end="")
    flagged.append(false_positives(math, column("math_train/math_train_7474.json", "problem"), show))
    return dict(zip(keys, (*recall, *paraphrased()), strict=True)) | {
        "false_positives_gsm8k": flagged[0],
        "false_positives_math": flagged[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=30)
    parser.add_argument("--show", type=int, default=5, help="false positives to print")
    parser.add_argument("--peer-python", help="the peer's rule is written out here; taken as in every bench")
    options = parser.parse_args()
    said = speed(options.megabytes)
    print(json.dumps(said | quality(options.show)))


if __name__ == "__main__":
    main()
