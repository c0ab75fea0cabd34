"""This project's side of bench_sft.py: the trainer of `students` on the same work, in a process of its own.

Usage: python our_sft.py LAYOUT SIZE DTYPE EPOCHS, prints one JSON object. LAYOUT is one of

    packed   as students are trained
    slow     the same, with bfloat16 products as torch makes them on this machine
    chunked  the same as packed, with the head's gradient summed over chunks of 220 positions (of V = 152 thousand), and
             the loss of each taken at once
    padded   rows padded to the longest, dense masks
    plain    padded, and the loss of all positions' logits at once
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sft_work import BATCH, IGNORED, PROMPT_TOKENS, SIZES, Clock, documents, model, peak_gib
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainingArguments

import students.trainer
from students import attention, losses, products
from students.batches import collate
from students.documents import Document
from students.progress import Meter


class InThePeersOrder(students.trainer.DistillTrainer):
    """The trainer with transformers' own order of documents, four to a step, so that losses can be compared."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return Trainer._get_train_sampler(self, train_dataset)


def all_at_once(hidden_BTD: Tensor, head_weight_VD: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, int]:
    """The loss as transformers takes it: every position's logits, in float32."""
    logits_BTV = (hidden_BTD @ head_weight_VD.T).float()
    next_BT = batch["labels"][:, 1:]
    loss = cross_entropy(logits_BTV[:, :-1].flatten(0, 1), next_BT.flatten(), reduction="sum")
    return loss, int((next_BT != IGNORED).sum())


def main(layout: str, size_name: str, dtype: str, epochs: int) -> None:
    size = SIZES[size_name]
    torch.set_num_threads(2)
    rows = [[Document(torch.tensor(ids, dtype=torch.int32), PROMPT_TOKENS)] for ids in documents(size)]
    student = model(size, dtype)
    packed = layout not in ("padded", "plain") and attention.use(student)
    if layout == "slow":
        products._without_instructions = lambda: False
    elif layout == "chunked":
        losses.STRIP_LOGITS, products.TRAINED_CHUNK_BYTES = 2**25, 2**26
    folder = Path(tempfile.mkdtemp())
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        num_train_epochs=epochs,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        learning_rate=1e-5,
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        optim="adamw_torch_fused",
    )
    clock = Clock()
    trainer = InThePeersOrder(
        model=student,
        args=arguments,
        train_dataset=rows,
        data_collator=partial(collate, packed),
        callbacks=[clock],
        meter=Meter(folder / "metrics.jsonl"),
        objective=all_at_once if layout == "plain" else students.trainer.cross_entropy,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    last = clock.seconds[-(len(clock.seconds) // epochs) :]
    found = {
        "tokens_per_s": sum(row[0].tokens for row in rows) / sum(last),
        "peak_gib": peak_gib(),
        "losses": [line["loss"] for line in trainer.state.log_history if "loss" in line],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
