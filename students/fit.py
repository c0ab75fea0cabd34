"""One training from end to end: takes a job, gives a checkpoint and the facts about it."""

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.records import Checkpoint
from distill.run import write_json
from students import Job, attention, checkpoints, defaults, distributed, trouble
from students.arguments import arguments
from students.batches import Layout, MicroBatches, collate
from students.corpus import Split, split
from students.display import Display
from students.distillation import Distillation
from students.documents import Documents, prepare
from students.held_out import Quiz, measured, problems_of
from students.model import load_model, load_tokenizer, parameters, save
from students.progress import Finished, Log, Meter, peak_memory_gib
from students.trainer import DistillTrainer, cross_entropy


def fit(job: Job) -> Checkpoint:
    """See `students.train`."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with trouble.told(job.section, job.folder / "checkpoints"):
        return _fit(job)


def _fit(job: Job) -> Checkpoint:
    section, ended = job.section, job.folder / "train.json"  # written last
    if ended.exists() and (job.folder / "model").exists():
        return _checkpoint(job, json.loads(ended.read_text(encoding="utf-8")))
    last = checkpoints.last_whole(job.folder / "checkpoints")  # first, since torn ones hold space on the disk
    tokenizer = load_tokenizer(section)
    documents = prepare(job.kept, tokenizer, job.cache, job.say)
    if not len(documents):
        raise DistillError("there is nothing to train on: curation kept no trace; see why each was dropped in 3-kept")
    parted = split(documents, section)
    for line in parted.told(section):
        job.say(line)
    model = load_model(section, tokenizer)
    packed = attention.use(model)
    with Display(job.say) as display:
        trainer = _trainer(job, model, tokenizer, (documents, parted), packed, display)
        _run(trainer, last)
    weights = distributed.whole_weights(trainer.model)  # all processes have a part in it
    facts = _facts(trainer, parted)
    if trainer.is_world_process_zero():
        save(trainer.accelerator.unwrap_model(trainer.model), tokenizer, job.folder / "model", weights)
        write_json(ended, facts)
    trainer.accelerator.wait_for_everyone()
    return _checkpoint(job, facts)


def _checkpoint(job: Job, facts: Mapping[str, Any]) -> Checkpoint:
    section = job.section
    return Checkpoint(
        path=str(job.folder / "model"),
        base=section.base,
        base_revision=section.revision or "",
        adapter=section.lora is not None,
        quantization=section.quantization,
        step=facts["steps"],
        tokens=facts["tokens"],
        loss_tokens=facts["loss_tokens"],
    )


def _run(trainer: DistillTrainer, last: Path | None) -> None:
    """Trains from the checkpoint `last`, if there is one; leaves the model with the weights that are to be kept."""
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except Finished:  # killed between its last checkpoint and its end; the Trainer itself would train one step more
        if trainer.args.load_best_model_at_end:
            trainer._load_best_model()


def _trainer(
    job: Job, model: Any, tokenizer: Any, data: tuple[Documents, Split], packed: bool, display: Display
) -> DistillTrainer:
    from transformers import PrinterCallback

    section, (documents, parted) = job.section, data
    layout = Layout.of(packed, section.batch_tokens, section.micro_tokens)
    batches = MicroBatches(documents, parted.train, layout, section.seed)
    held_out = MicroBatches(documents, parted.held_out, layout, section.seed) if parted.held_out else None
    rate = section.learning_rate or defaults.learning_rate(
        parameters(model)[1], section.lora is not None, str(model.config.model_type)
    )
    distillation = _distillation(job)
    trainer = DistillTrainer(
        model=model,
        args=arguments(section, batches, job.folder, rate),
        train_dataset=batches,
        eval_dataset=held_out,
        data_collator=partial(distillation.collate if distillation else collate, packed),
        processing_class=tokenizer,
        callbacks=[Log(meter := Meter(job.folder / "metrics.jsonl"), display)],
        meter=meter,
        objective=distillation or cross_entropy,
        quiz=_quiz(job, tokenizer, documents, parted),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _distillation(job: Job) -> Distillation | None:
    """What kd needs of the teacher; None for sft."""
    objective = job.section.objective
    if objective.kind != "kd":
        return None
    if job.signals is None:
        raise ValueError("objective kd needs the teacher's signals")
    return Distillation.of(objective, job.signals)


def _quiz(job: Job, tokenizer: Any, documents: Documents, parted: Split) -> Quiz | None:
    """The held-out problems that are solved at every checkpoint; answers may be as long as the longest kept one."""
    section = job.section
    if section.best_by != "accuracy":
        return None
    if job.verifier is None:
        raise ValueError("best_by: accuracy needs a verifier")
    numbers = frozenset(int(documents.problems[place]) for place in parted.held_out)
    problems = problems_of(job.kept, numbers, section.accuracy_problems)
    longest = max(int(documents.tokens[place]) for place in (*parted.train, *parted.held_out))
    return Quiz(problems, tokenizer, job.verifier, longest)


def _facts(trainer: DistillTrainer, parted: Split) -> dict[str, Any]:
    """What the manifest tells of the training; seconds and tokens count over resumes."""
    meter, state = trainer.meter, trainer.state
    trained, everything = trainer.sizes
    chosen = state.best_global_step if trainer.args.load_best_model_at_end else state.global_step
    return {
        "traces": len(parted.train),
        "held_out": len(parted.held_out),
        "too_long": parted.too_long,
        "too_long_tokens": parted.too_long_tokens,
        "tokens": meter.tokens,
        "loss_tokens": meter.loss_tokens,
        "steps": state.global_step,
        "chosen_step": chosen,
        **measured(state, chosen),
        "tokens_per_s": round(meter.tokens / max(meter.seconds, 1e-9), 1),
        "peak_memory_gib": peak_memory_gib(),
        "final_loss": None if math.isnan(meter.loss) else meter.loss,
        "learning_rate": trainer.args.learning_rate,
        "trainable_parameters": trained,
        "parameters": everything,
    }
