"""One training from end to end: takes the recipe's section and traces, gives a checkpoint and the facts about it."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from distill.errors import DistillError
from distill.records import Checkpoint, Trace
from distill.run import write_json
from distill.sections import Student
from students import defaults
from students.batches import MicroBatches, collate, fitting
from students.model import load_model, load_tokenizer, save
from students.render import render
from students.trainer import DistillTrainer, Log, Meter, peak_memory_gib

COSINE = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
"""DeepSeek's schedule: a cosine to a tenth of the first rate (arXiv 2501.12948v2, appendix B.4.3)."""

RECOMPUTE: dict[str, Any] = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}


def fit(section: Student, traces: Sequence[Trace], folder: Path, report: Callable[[str], None]) -> Checkpoint:
    """See `students.train`."""
    if not traces:
        raise DistillError("there is nothing to train on: curation kept no trace; see why each was dropped in 3-kept")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(section)
    documents, too_long = fitting((render(tokenizer, trace) for trace in traces), section.max_tokens)
    if not documents:
        raise DistillError(
            f"there is nothing to train on: all {too_long} traces are longer than student.max_tokens: "
            f"{section.max_tokens}; write a larger student.max_tokens"
        )
    if too_long:
        report(f"{too_long} of {len(traces)} traces are longer than {section.max_tokens} tokens and are left out")
    batches = MicroBatches(documents, section.batch_tokens, section.seed)
    model = load_model(section, tokenizer)
    rate = section.learning_rate or defaults.learning_rate(
        parameters(model)[1], section.lora is not None, str(model.config.model_type)
    )
    trainer = _trainer(section, model, tokenizer, batches, (folder, rate, report))
    trainer.train(resume_from_checkpoint=_last_checkpoint(folder / "checkpoints"))
    if trainer.is_world_process_zero():
        save(trainer.accelerator.unwrap_model(trainer.model), tokenizer, folder / "model")
        write_json(folder / "train.json", _facts(trainer, rate, len(documents), too_long))
    trainer.accelerator.wait_for_everyone()
    return Checkpoint(
        path=str(folder / "model"),
        base=section.base,
        base_revision=section.revision or "",
        adapter=section.lora is not None,
        quantization=section.quantization,
        step=trainer.state.global_step,
        tokens=trainer.meter.tokens,
        loss_tokens=trainer.meter.loss_tokens,
    )


def parameters(model: Any) -> tuple[int, int]:
    """How many parameters are trained, and how many there are but for an adapter's; packed 4-bit ones count whole."""
    from peft import PeftModel

    if isinstance(model, PeftModel):
        trained, everything = model.get_nb_trainable_parameters()
        return int(trained), int(everything - trained)
    return sum(p.numel() for p in model.parameters() if p.requires_grad), int(model.num_parameters())


def _trainer(
    section: Student, model: Any, tokenizer: Any, batches: MicroBatches, run: tuple[Path, float, Callable[[str], None]]
) -> DistillTrainer:
    from transformers import PrinterCallback

    folder, rate, report = run
    arguments = _arguments(section, batches, folder, rate)
    meter = Meter(folder / "metrics.jsonl")
    trainer = DistillTrainer(
        model=model,
        args=arguments,
        train_dataset=batches,
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[Log(meter, report)],
        meter=meter,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _arguments(section: Student, batches: MicroBatches, folder: Path, rate: float) -> Any:
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=batches.per_step(int(os.environ.get("WORLD_SIZE", "1"))),
        num_train_epochs=section.objective.epochs,
        max_steps=section.max_steps or -1,
        learning_rate=rate,
        warmup_steps=section.warmup,
        **COSINE,
        optim=section.optimizer,
        **(RECOMPUTE if section.gradient_checkpointing else {}),
        save_steps=section.save_every_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=section.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=not sys.stderr.isatty(),
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are torchrun's; nn.DataParallel would split micro-batches
    return arguments


def _last_checkpoint(folder: Path) -> str | None:
    """The last whole checkpoint; torn ones, whose trainer_state.json (written last) cannot be read, are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            whole.append((int(json.loads((path / "trainer_state.json").read_text("utf-8"))["global_step"]), str(path)))
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path, ignore_errors=True)
    return max(whole)[1] if whole else None


def _facts(trainer: DistillTrainer, rate: float, traces: int, too_long: int) -> dict[str, Any]:
    """What the manifest tells of the training; seconds and tokens count over resumes."""
    meter = trainer.meter
    trained, everything = parameters(trainer.accelerator.unwrap_model(trainer.model))
    return {
        "traces": traces,
        "too_long": too_long,
        "tokens": meter.tokens,
        "loss_tokens": meter.loss_tokens,
        "steps": trainer.state.global_step,
        "tokens_per_s": round(meter.tokens / max(meter.seconds, 1e-9), 1),
        "peak_memory_gib": peak_memory_gib(),
        "final_loss": None if math.isnan(meter.loss) else meter.loss,
        "learning_rate": rate,
        "trainable_parameters": trained,
        "parameters": everything,
    }
