"""The student's section of the recipe; each field is documented once, by the text under it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from distill.sections import Section
from distill.teacher_sections import EndpointTeacher, LocalTeacher

Tracker = Literal["trackio", "wandb", "tensorboard"]


class Lora(Section):
    """The adapter (Hu et al., 2021, arXiv 2106.09685), on every linear layer."""

    rank: int = Field(64, gt=0)
    """Its width."""
    alpha: int | None = Field(None, gt=0)
    """Its scale's numerator; the rank times two when left out."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """On the adapter's input."""


class Sft(Section):
    """Supervised fine-tuning on the kept traces."""

    kind: Literal["sft"] = "sft"
    epochs: float = Field(3, gt=0)
    """DeepSeek trained its students for two to three (arXiv 2501.12948v2, appendix B.4.3)."""


class Kd(Section):
    """Knowledge distillation: the kept traces, and the teacher's distribution at each of their tokens, from a cache on
    disk, so that no teacher is in memory while training. Teacher and student need one vocabulary."""

    kind: Literal["kd"]
    epochs: float = Field(3, gt=0)
    """As for sft."""
    cross_entropy: float = Field(0.5, ge=0, le=1)
    """The weight of the traces' own tokens; the rest is on the divergence from the teacher."""
    temperature: float = Field(1.0, gt=0)
    """Softens both distributions; the divergence is scaled by its square (Hinton et al., 2015, arXiv 1503.02531)."""
    divergence: Literal["forward_kl", "jsd"] = "forward_kl"
    """forward_kl, or the generalized Jensen-Shannon divergence (Agarwal et al., 2024, arXiv 2306.13649)."""
    jsd_beta: float = Field(0.5, gt=0, lt=1)
    """The teacher's share of the mixture in jsd."""
    signals: Literal["score", "captured"] = "score"
    """score: the teacher reads the kept traces once before training. captured: what `teacher.capture_logprobs` kept
    while sampling, without a second pass."""
    teacher: Annotated[LocalTeacher | EndpointTeacher, Field(discriminator="kind")] | None = None
    """Who scores; left out: the recipe's own teacher."""
    teacher_tokenizer: str | None = None
    """A folder or Hub id with the scoring teacher's tokenizer, for an endpoint whose model name is neither."""
    k: int = Field(256, gt=0)
    """At most so many tokens are kept for each position."""
    mass: float = Field(0.99999, gt=0, le=1)
    """So many of them as carry this much of the distribution; the rest is kept as one number."""


class Fsdp(Section):
    """Shards weights, gradients and optimizer over the processes of torchrun (PyTorch's FSDP2)."""

    kind: Literal["fsdp"]
    offload: bool = False
    """Keep what a GPU does not need at the moment in the host's memory."""
    reshard: bool = True
    """Free a layer's gathered weights after its forward pass: less memory, one more exchange."""


class Student(Section):
    """What is trained, and how."""

    base: str
    """A model folder, a Hub id, or `bundled:base`."""
    revision: str | None = None
    """The Hub model's commit or tag."""
    objective: Annotated[Sft | Kd, Field(discriminator="kind")] = Sft()
    """What is minimized."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """How the frozen base under an adapter is kept (QLoRA, arXiv 2305.14314)."""
    lora: Lora | None = None
    """Train an adapter; without it all weights are trained."""
    learning_rate: float | None = Field(None, gt=0)
    """The first one. Left out: DeepSeek's by student size for full training, ten times that for an adapter."""
    batch_tokens: int = Field(32768, gt=0)
    """Tokens per optimizer step, as near as whole traces allow."""
    micro_tokens: int | None = Field(None, gt=0)
    """Tokens in one forward pass of one process; a longer trace goes alone. Left out: an eighth of batch_tokens, and at
    least 2,048."""
    max_tokens: int = Field(32768, gt=0)
    """Longer traces are left out, whole, and counted; none is ever cut."""
    max_too_long: float = Field(0.2, ge=0, le=1)
    """Refuse to train where more than this share of the traces is longer than that."""
    warmup: float = Field(0.03, ge=0, lt=1)
    """The share of the steps in which the learning rate rises; then it falls by a cosine to a tenth."""
    max_steps: int | None = Field(None, gt=0)
    """Stop after so many optimizer steps."""
    save_every_steps: int = Field(100, gt=0)
    """Checkpoints to resume from, and to choose from; the last two and the best are kept."""
    holdout: float = Field(0.0, ge=0, lt=1)
    """This share of the problems is not trained on: its loss is measured at every checkpoint."""
    best_by: Literal["last", "loss", "accuracy"] = "last"
    """Which checkpoint becomes the student: the last, that of the least held-out loss, or that which solves the most of
    the held-out problems."""
    accuracy_problems: int = Field(64, gt=0)
    """With best_by: accuracy, so many held-out problems are solved at every checkpoint."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    optimizer: Literal["adamw_torch_fused", "adamw_torch", "adamw_bnb_8bit", "paged_adamw_8bit"] = "adamw_torch_fused"
    """AdamW in full, or bitsandbytes' in 8 bits."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """In which the weights are held and the matrices multiplied."""
    distributed: Fsdp | None = None
    """How several processes of torchrun share the work: fsdp, or each with all weights where it is left out."""
    liger: bool | None = None
    """The Liger project's Triton kernels; left out: where they are installed and there is a GPU."""
    report_to: tuple[Tracker, ...] = ()
    """Trackers that also get every step's figures."""
    seed: int = Field(0, ge=0)
    """For the order of the traces and the adapter's first weights."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for models whose code you have read."""

    @field_validator("objective", mode="before")
    @classmethod
    def _is_sft_by_default(cls, value: Any) -> Any:
        return {"kind": "sft", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _quantized_needs_lora(self) -> Self:
        if self.quantization != "none" and self.lora is None:
            raise ValueError(
                f"quantization: {self.quantization} needs an adapter, since a quantized base cannot be trained; "
                "add `lora: {rank: 64}` or write quantization: none"
            )
        return self

    @model_validator(mode="after")
    def _best_needs_a_holdout(self) -> Self:
        if self.best_by != "last" and self.holdout == 0:
            raise ValueError(f"best_by: {self.best_by} needs held-out problems; add `holdout: 0.02`")
        return self
