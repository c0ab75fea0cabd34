"""Makes a student of random weights in the shape of Qwen2.5-0.5B, for trying a recipe where no weights can be had.

usage: python -m distill.quickstart.random_student OUT --tokenizer FOLDER [--layers N]
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM


def make(out: Path, tokenizer_folder: Path, layers: int) -> int:
    """Writes a model folder in bf16 with the given tokenizer; returns how many parameters it has."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a folder with a tokenizer and a chat template")
    parser.add_argument("--layers", type=int, default=4)
    args = parser.parse_args()
    print(f"{make(args.out, args.tokenizer, args.layers):,} parameters of random weights in {args.out}")


if __name__ == "__main__":
    main()
