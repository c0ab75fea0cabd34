"""The traces of bench_sft.py's second part, for either trainer: prompts, reasoning and answers of made-up words.

Takes nothing; gives the texts, the same in every process, and the folder of the tokenizer: Qwen2's, where the folder of
real data lies beside the checkout, or else the bundled base's.
"""

import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRACES = 500
WORDS = 1500
"""Words of a trace's reasoning, about 9 kB."""


def texts() -> list[tuple[str, str, str]]:
    """Each trace's problem, reasoning and answer."""
    rng = random.Random(0)
    syllables = ["ta", "ri", "mon", "ver", "sel", "qua", "int", "ble", "so", "the", "we", "13", "+", "=", "42"]
    vocabulary = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(3000)]

    def sentence(words: int) -> str:
        return " ".join(rng.choice(vocabulary) for _ in range(words))

    def reasoning() -> str:
        return "\n\n".join(sentence(50).capitalize() + "." for _ in range(WORDS // 50))

    return [(f"{number}: {sentence(40)}?", reasoning(), f"\\boxed{{{number}}}") for number in range(TRACES)]


def tokenizer_folder(target: Path) -> Path:
    """A folder that AutoTokenizer loads, with a chat template and an end of the sequence."""
    source = ROOT.parent / "shared" / "data" / "tokenizer_qwen2"
    if not source.is_dir():
        return ROOT / "distill" / "quickstart" / "base"
    from transformers import Qwen2TokenizerFast

    made = Qwen2TokenizerFast(str(source / "vocab.json"), str(source / "merges.txt"))
    made.add_special_tokens({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"})
    made.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    made.save_pretrained(target)
    return target
