"""transformers' Trainer with the losses of distillation: takes micro-batches, gives the loss per token of a whole step.

Legend: B documents, T their longest length (or all their tokens in one row), D hidden width, V vocabulary, N positions
that have a target.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer

from students.batches import IGNORED
from students.distributed import Turns, shard_on_cpu
from students.held_out import Quiz, measured, measuring
from students.losses import chunked_cross_entropy
from students.model import parameters
from students.products import fast_products
from students.progress import Meter

Objective = Callable[[Tensor, Tensor, Mapping[str, Any]], tuple[Tensor, int]]
"""Takes hidden_BTD, head_weight_VD and the micro-batch; gives the summed loss and how many positions it has."""
NOT_THE_MODELS = ("labels", "signal")
"""Parts of a micro-batch that are the objective's."""


class DistillTrainer(Trainer):  # type: ignore[misc]
    """Training on completions, the logits never built in full and the loss counted per token of a whole step."""

    control: Any  # the base class makes these
    is_fsdp_enabled: bool

    def __init__(self, *args: Any, meter: Meter, objective: Objective, quiz: Quiz | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.meter, self.objective, self.quiz = meter, objective, quiz
        self.sizes = parameters(self.model)  # shards do not tell
        self._seen = [0, 0]
        self.model_accepts_loss_kwargs = True  # so that the Trainer counts the targets of a whole step
        self.loss_is_scaled_for_ga = True

    def create_accelerator_and_postprocess(self) -> None:
        """As the Trainer's, and sharded on CPUs too where the recipe says fsdp."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is not None and not self.is_fsdp_enabled:
            from accelerate.utils import FullyShardedDataParallelPlugin

            shard_on_cpu(self.accelerator, FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args))
            self.is_fsdp_enabled = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Turns:
        return Turns(self.train_dataset, self.args.seed, lambda: int(self.state.global_step))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the Trainer's; of a sharded model nothing, since FSDP's own checkpoint has its weights."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
        elif output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the Trainer's, after what was trained on since the last step was counted in all processes."""
        if "loss" in logs:
            seen = torch.tensor(self._seen, device=self.args.device)
            tokens, loss_tokens = self.accelerator.reduce(seen, "sum").tolist()
            self.meter.tokens += tokens
            self.meter.loss_tokens += loss_tokens
            self._seen = [0, 0]
        super().log(logs, start_time)

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """As the Trainer's, with every product as fast as this machine can make it."""
        with fast_products():
            loss: Tensor = super().training_step(*args, **kwargs)
        return loss

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's share of the step's mean loss, in nats per token."""
        loss, count = summed_loss(model, self.accelerator.unwrap_model(model), inputs, self.objective)
        if model.training and count:  # a blank has none
            self._seen[0] += tokens_in(inputs)
            self._seen[1] += count
        share = loss / (count if num_items_in_batch is None else num_items_in_batch)
        share = share * self.accelerator.num_processes  # gradients are averaged over processes, not summed
        return (share, {}) if return_outputs else share

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """The held-out loss in nats per token, over all processes, and the share of right answers where asked for."""
        with measuring(self.model_wrapped), fast_products():
            figures = {f"{metric_key_prefix}_loss": self._held_out_loss(self.model_wrapped)}
        if self.quiz is not None:
            figures[f"{metric_key_prefix}_accuracy"] = self._agreed(
                self.quiz.accuracy(self.accelerator.unwrap_model(self.model_wrapped))
            )
        self.log(dict(figures))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _agreed(self, figure: float) -> float:
        """The first process' figure in all of them, so that all choose the same checkpoint."""
        first = figure if self.accelerator.is_main_process else 0.0
        return float(self.accelerator.reduce(torch.tensor(first, device=self.args.device), "sum"))

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """As the Trainer's; of checkpoints with equal shares of right answers, that of the least held-out loss."""
        state = self.state
        if self.quiz is not None and metrics["eval_accuracy"] == state.best_metric:
            if metrics["eval_loss"] < measured(state, state.best_global_step)["held_out_loss"]:
                state.best_global_step = state.global_step
            return False
        found: bool = super()._determine_best_metric(metrics, trial)
        return found

    @torch.no_grad()
    def _held_out_loss(self, model: nn.Module) -> float:
        """Each process takes every n-th micro-batch; one that has none left takes its last again, which does not count,
        since sharded layers meet in every forward pass."""
        micros, of, rank = self.eval_dataset, self.accelerator.num_processes, self.accelerator.process_index
        sums = torch.zeros(2, dtype=torch.float64)
        for first in range(0, len(micros), of):
            mine = first + rank
            batch = self._prepare_inputs(self.data_collator([micros[min(mine, len(micros) - 1)]]))
            loss, count = summed_loss(model, self.accelerator.unwrap_model(model), batch, self.objective)
            if mine < len(micros):
                sums += torch.tensor([float(loss), count], dtype=torch.float64)
        total, count = self.accelerator.reduce(sums.to(self.args.device), "sum").tolist()
        return float(total / count)


def tokens_in(batch: Mapping[str, Any]) -> int:
    """Tokens of a micro-batch, without padding."""
    mask = batch.get("attention_mask")
    return int(mask.sum()) if mask is not None else int(batch["input_ids"].numel())


def summed_loss(
    model: nn.Module, unwrapped: nn.Module, batch: Mapping[str, Any], objective: Objective
) -> tuple[Tensor, int]:
    """The objective's sum over a micro-batch and its count of positions.

    The head takes the loss in the place of its logits, inside the model's own forward pass: wrappers (peft, DDP, FSDP)
    have gathered its weight there, and see one number come out.
    """
    counts: list[int] = []

    def take(hidden_BTD: Tensor, weight_VD: Tensor) -> Tensor:
        loss, count = objective(hidden_BTD, weight_VD, batch)
        counts.append(count)
        return loss

    arguments = {name: value for name, value in batch.items() if name not in NOT_THE_MODELS}
    with taken(causal_lm(unwrapped).get_output_embeddings(), take):
        loss: Tensor = model(**arguments, use_cache=False).logits
    return loss, counts[-1]


def cross_entropy(hidden_BTD: Tensor, head_weight_VD: Tensor, batch: Mapping[str, Any]) -> tuple[Tensor, int]:
    """The objective of supervised fine-tuning: the summed loss over the positions whose NEXT token is trained."""
    hidden_ND, targets_N = trained(hidden_BTD, batch["labels"])
    return chunked_cross_entropy(hidden_ND, head_weight_VD, targets_N), int(targets_N.numel())


def trained(hidden_BTD: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states of the positions that have a target, and the targets, document by document."""
    next_BT = labels_BT[:, 1:]
    trained_BT = next_BT != IGNORED
    return hidden_BTD[:, :-1][trained_BT], next_BT[trained_BT]


@contextmanager
def taken(head: Any, take: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Puts `take`, of hidden states and the head's weight, in the place of a head's forward pass."""
    before = head.__dict__.get("forward")
    head.__dict__["forward"] = lambda hidden_BTD: take(hidden_BTD, head.weight)
    try:
        yield
    finally:
        del head.__dict__["forward"]
        if before is not None:
            head.__dict__["forward"] = before


def causal_lm(model: Any) -> Any:
    """The causal LM itself, without the adapter's wrapping."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model
