"""The peer's side of bench_sft.py: trl's SFTTrainer in one of its modes. Run by an interpreter that has trl.

Usage: python peer_sft.py pad|free|pack SIZE DTYPE EPOCHS, prints one JSON object.
"""

import json
import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from sft_work import BATCH, IGNORED, PROMPT_TOKENS, SIZES, Clock, documents, model, peak_gib
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

LAYOUTS: dict[str, dict[str, Any]] = {
    "pad": {"max_length": None},
    "free": {"padding_free": True, "max_length": None},
    "pack": {"packing": True},
}


def main(mode: str, size_name: str, dtype: str, epochs: int) -> None:
    size = SIZES[size_name]
    torch.set_num_threads(2)
    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "a": 2, "<unk>": 3}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    rows = [{"input_ids": ids, "labels": [IGNORED] * PROMPT_TOKENS + ids[PROMPT_TOKENS:]} for ids in documents(size)]
    layout = LAYOUTS[mode] | ({"max_length": size.longest} if mode == "pack" else {})
    arguments = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=BATCH,
        num_train_epochs=epochs,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        learning_rate=1e-5,
        dataset_kwargs={"skip_prepare_dataset": mode != "pack"},
        remove_unused_columns=mode == "pack",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        optim="adamw_torch_fused",
        **layout,
    )
    clock = Clock()
    trainer = SFTTrainer(
        model=model(size, dtype),
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[clock],
    )
    trainer.train()
    last = clock.seconds[-(len(clock.seconds) // epochs) :]
    found = {
        "tokens_per_s": sum(len(row["input_ids"]) for row in rows) / sum(last),
        "peak_gib": peak_gib(),
        "losses": [line["loss"] for line in trainer.state.log_history if "loss" in line],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
