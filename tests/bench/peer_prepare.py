"""The peer's side of the second part of bench_sft.py: what SFTTrainer does to the data before the first step.

Usage: python peer_prepare.py, prints one JSON object. What it takes to make the trainer with one row is subtracted.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
from prepare_work import texts, tokenizer_folder
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

DIRECTIVE = "Please reason step by step, and put your final answer within \\boxed{}."


def rows(tokenizer: Any) -> list[dict[str, str]]:
    made = []
    for prompt, reasoning, answer in texts():
        turn = [{"role": "user", "content": f"{prompt}\n{DIRECTIVE}"}]
        text = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        made.append({"prompt": f"{text}<think>\n", "completion": f"{reasoning}\n</think>\n\n{answer}"})
    return made


def seconds(some: list[dict[str, str]], tokenizer: Any) -> tuple[float, int]:
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=2, **size))
    arguments = SFTConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, report_to=[], max_length=32768, packing=True,
        disable_tqdm=True, eos_token=tokenizer.eos_token,
    )  # fmt: skip
    data = datasets.Dataset.from_list(some)
    began = time.perf_counter()
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)
    took = time.perf_counter() - began
    return took, sum(len(row["input_ids"]) for row in trainer.train_dataset)


def main() -> None:
    datasets.disable_caching()
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(Path(tempfile.mkdtemp()) / "tokenizer"))
    everything = rows(tokenizer)
    least, _ = seconds(everything[:1], tokenizer)
    took, tokens = seconds(everything, tokenizer)
    print(json.dumps({"tokens_per_s": tokens / max(took - least, 1e-9), "tokens": tokens}))


if __name__ == "__main__":
    main()
