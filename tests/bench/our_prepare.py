"""This project's side of the second part of bench_sft.py: kept traces on disk to token ids on disk.

Usage: python our_prepare.py, prints one JSON object.
"""

import json
import tempfile
import time
from pathlib import Path

from prepare_work import texts, tokenizer_folder
from transformers import AutoTokenizer

from distill import shards
from distill.records import Completion, Problem, Sampling, Trace
from students.batches import Layout, MicroBatches
from students.documents import prepare


def traces() -> list[Trace]:
    made = []
    for prompt, reasoning, answer in texts():
        problem = Problem.of(prompt, answer, "math", "bench")
        completion = Completion(reasoning, answer, "stop", None, None, "bench")
        made.append(Trace(Trace.name(problem, 0), problem, completion, "bench", 0, Sampling(), None, "", 0.0))
    return made


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(folder / "tokenizer"))
    kept = traces()
    shards.write_parts(folder / "kept", kept, Trace)
    tokenizer([kept[0].completion.reasoning])
    began = time.perf_counter()
    documents = prepare(folder / "kept", tokenizer, folder / "cache", lambda line: None)
    MicroBatches(documents, range(len(documents)), Layout.of(True, 32768, None), seed=0)
    took = time.perf_counter() - began
    again = time.perf_counter()
    prepare(folder / "kept", tokenizer, folder / "cache", lambda line: None)
    cached = time.perf_counter() - again
    plain = [f"{trace.problem.ask}{trace.completion.reasoning}{trace.completion.answer}" for trace in kept]
    began = time.perf_counter()
    counted = sum(len(ids) for text in plain for ids in tokenizer([text], verbose=False)["input_ids"])
    alone = time.perf_counter() - began
    tokens = int(documents.tokens.sum())
    found = {"tokens_per_s": tokens / took, "tokenizer_tokens_per_s": counted / alone, "cached_s": cached}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
