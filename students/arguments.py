"""The Trainer's settings: takes the student's section of the recipe, gives transformers' TrainingArguments."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch

from distill.errors import InputError
from distill.student_sections import Student
from students import distributed
from students.batches import MicroBatches

COSINE = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}
"""DeepSeek's schedule: a cosine to a tenth of the first rate (arXiv 2501.12948v2, appendix B.4.3)."""
RECOMPUTE: dict[str, Any] = {
    "activation_checkpointing": True,
    "activation_checkpointing_kwargs": {"use_reentrant": False},
}
LIGER: dict[str, Any] = {
    "use_liger_kernel": True,
    "liger_kernel_config": {
        "rope": True,
        "rms_norm": True,
        "swiglu": True,
        "cross_entropy": False,
        "fused_linear_cross_entropy": False,
    },
}
"""All of Liger's kernels but its losses, whose place ours takes."""
PROJECT = "distill"
"""Under which trackers file their runs."""


def check(section: Student) -> None:
    """Raises InputError for trackers and kernels that are not here, and for what torchrun is needed for."""
    distributed.check(section)
    _wants_liger(section)
    for tracker in missing_trackers(section):
        raise InputError(f"student.report_to: {tracker} is not installed; run `pip install {tracker}`, or leave it out")


def missing_trackers(section: Student) -> list[str]:
    """The trackers that are to be told, and are not installed."""
    return [tracker for tracker in section.report_to if importlib.util.find_spec(tracker) is None]


def arguments(section: Student, batches: MicroBatches, folder: Path, rate: float) -> Any:
    """transformers' TrainingArguments; `rate` is the first learning rate, `folder` the stage's own."""
    from transformers import TrainingArguments

    _name_trackers(section, folder)
    made = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=distributed.rounds(batches.per_step()),
        num_train_epochs=section.objective.epochs,
        max_steps=section.max_steps or -1,
        learning_rate=rate,
        warmup_steps=section.warmup,
        **COSINE,
        optim=section.optimizer,
        **(RECOMPUTE if section.gradient_checkpointing else {}),
        **(LIGER if _wants_liger(section) else {}),
        **_sharding(section),
        save_steps=section.save_every_steps,
        save_total_limit=2 if section.best_by == "last" else 3,  # the best is one of them
        **_choosing(section),
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=section.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        remove_unused_columns=False,
        report_to=list(section.report_to) or "none",
        run_name=folder.parent.name,
        project=PROJECT,
        disable_tqdm=True,  # students.display shows the bar
    )
    made._n_gpu = min(made.n_gpu, 1)  # several GPUs are torchrun's; nn.DataParallel would split micro-batches
    return made


def _choosing(section: Student) -> dict[str, Any]:
    """The Trainer's settings for held-out problems and for the best checkpoint."""
    if not section.holdout:
        return {}
    measured = {"eval_strategy": "steps", "eval_steps": section.save_every_steps}
    if section.best_by == "last":
        return measured
    best = {"metric_for_best_model": section.best_by, "greater_is_better": section.best_by == "accuracy"}
    return {**measured, **best, "load_best_model_at_end": True}


def _sharding(section: Student) -> dict[str, Any]:
    """The Trainer's settings for several processes: PyTorch's FSDP2, a unit for each of the model's layers, or DDP.

    Checkpoints hold whole weights, which are read as plain tensors, by any number of processes.
    """
    sharded = section.distributed
    if sharded is None:
        return {"ddp_find_unused_parameters": False}
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "cpu_offload": sharded.offload and torch.cuda.is_available(),  # elsewhere all is in that memory already
            "reshard_after_forward": sharded.reshard,
            "state_dict_type": "FULL_STATE_DICT",
            "cpu_ram_efficient_loading": distributed.reads_once(section),
        },
    }


def _wants_liger(section: Student) -> bool:
    """Whether Liger's kernels are used; raises InputError where they are asked for and cannot be."""
    here = importlib.util.find_spec("liger_kernel") is not None and torch.cuda.is_available()
    if section.liger and not here:
        why = (
            "there is no GPU"
            if not torch.cuda.is_available()
            else "it is not installed; run `pip install liger-kernel`"
        )
        raise InputError(f"student.liger: {why}, or leave student.liger out")
    return here if section.liger is None else section.liger


def _name_trackers(section: Student, folder: Path) -> None:
    """Where trackers write, for those that take it from the environment: what a person has set there stays."""
    if "tensorboard" in section.report_to:
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
    if "wandb" in section.report_to:
        os.environ.setdefault("WANDB_PROJECT", PROJECT)
