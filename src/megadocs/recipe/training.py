"""Recipe sections `model` and `train`: the student, the optimiser, the two clocks, checkpoints."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from megadocs.recipe.base import MAX_SEED, NowOperational, Operational, Section

Preset = Literal["tiny", "5m", "20m", "60m", "150m", "300m", "600m", "1_5b"]


class ModelConfig(Section):
    """A Llama. A preset, any of whose fields can be set here, or a pretrained checkpoint to continue from."""

    preset: Preset = Field("tiny", description="tiny is the demo's (4 layers of 128); 150m..1_5b are the paper's.")
    init_from: str | None = Field(
        None, description="Continue from this Hugging Face folder or hub name (Llama family)."
    )
    hidden_size: int | None = Field(None, ge=1, le=10**6, description="Width; none: the preset's.")
    intermediate_size: int | None = Field(None, ge=1, le=10**7, description="Width of the feed-forward layer.")
    num_hidden_layers: int | None = Field(None, ge=1, le=10**4, description="Layers.")
    num_attention_heads: int | None = Field(None, ge=1, le=10**5, description="Query heads.")
    num_key_value_heads: int | None = Field(
        None, ge=1, le=10**5, description="Key and value heads (grouped-query attention)."
    )
    rope_theta: float = Field(10_000.0, gt=0, le=1e12, description="RoPE base (facts, section 6).")
    rms_norm_eps: float = Field(1e-5, gt=0, le=1, description="RMSNorm epsilon.")
    tie_word_embeddings: bool = Field(False, description="Share input and output embeddings; the paper does not.")

    @model_validator(mode="after")
    def _shape_of_the_pretrained(self) -> Self:
        if self.init_from is not None:
            decided = sorted(self.model_dump(exclude_defaults=True, exclude={"init_from"}))
            if decided:
                raise ValueError(
                    f"init_from decides the shape: remove model.{', model.'.join(decided)}, or remove model.init_from"
                )
        return self


class TrainConfig(Section):
    """One training run."""

    context_length: int = Field(256, ge=8, le=10**7, description="Tokens in a window; T tokens give T-1 targets.")
    batch_size: int = Field(16, ge=1, le=10**6, description="Windows per optimiser step, over all ranks.")
    micro_batch_size: NowOperational[int | None] = Field(
        None, ge=1, le=10**6, description="Windows per forward pass and rank; none: found automatically."
    )
    real_epochs: float = Field(
        8, gt=0, le=1e6, description="Passes over the real stream; with synthetic_fraction it sets the steps."
    )
    synthetic_epochs: float | None = Field(
        None, gt=0, le=1e6, description="Sets the steps when synthetic_fraction is 1."
    )
    learning_rate: float = Field(3e-3, gt=0, le=1e38, description="Peak, after warm-up.")
    weight_decay: float = Field(
        0.8, ge=0, le=1e6, description="Decoupled; per step lr(t) * weight_decay. Not on norms and input embedding."
    )
    warmup_fraction: float = Field(0.01, ge=0, lt=1, description="Share of the steps, linear from 0; then cosine to 0.")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's first moment.")
    beta2: float = Field(0.95, ge=0, lt=1, description="AdamW's second moment.")
    eps: float = Field(1e-8, gt=0, le=1, description="AdamW's epsilon.")
    gradient_clip: float | None = Field(1.0, gt=0, le=1e9, description="Global norm; none: no clipping.")
    weight_decay_schedule: Literal["constant", "linear_to_zero", "cosine_to_zero"] = Field(
        "constant", description="Weight decay over the run (facts, section 10)."
    )
    ema_decay: float | None = Field(
        None, gt=0, lt=1, description="Averaged weights for evaluation; none: off (facts, section 10)."
    )
    masked_input_fraction: float | None = Field(
        None, gt=0, lt=1, description="Share of input tokens replaced as regularisation (arXiv:2606.06888); none: off."
    )
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto",
        description="Compute type; parameters and loss stay float32. auto: bfloat16 where the device has instructions "
        "for it, else float32, which is up to ten times faster there. What was chosen is part of a run's identity: set "
        "it for a workspace that moves between machines.",
    )
    device: NowOperational[Literal["auto", "cpu", "cuda"]] = Field("auto", description="auto: CUDA where there is one.")
    compile: NowOperational[bool] = Field(False, description="torch.compile the model.")
    deterministic: NowOperational[bool] = Field(
        False, description="CUDA kernels that repeat to the bit, and are slower. On a CPU they always do."
    )
    evaluate_every_steps: NowOperational[int | None] = Field(
        None, ge=1, le=10**9, description="Validation loss during the run; none: at the end only."
    )
    checkpoint_minutes: Operational[float] = Field(10, gt=0, le=1e5, description="Time between checkpoints.")
    keep_checkpoints: Operational[int] = Field(2, ge=1, le=1000, description="Newest checkpoints kept.")
    log_every_steps: Operational[int] = Field(10, ge=1, le=10**9, description="Steps between records in metrics.jsonl.")
    num_processes: Operational[int] = Field(
        1, ge=1, le=1024, description="Ranks on this machine that share a run (torchrun); must divide batch_size."
    )
    parallel: Operational[Literal["ddp", "fsdp"]] = Field(
        "ddp", description="With several ranks: replicate the model, or shard it (FSDP2)."
    )
    rank_timeout_seconds: Operational[float] = Field(
        60, gt=0, le=1e5, description="A rank that does not answer for so long ends the run."
    )
    trackers: Operational[list[Literal["wandb", "trackio", "tensorboard"]]] = Field(
        default_factory=list, description="Optional sinks."
    )

    @field_validator("device", mode="before")
    @classmethod
    def _apples_gpu_has_not_been_tried(cls, device: object) -> object:
        if device == "mps":
            raise ValueError("models run on the CPU of a Mac, not on its GPU (mps): use train.device=cpu, or auto")
        return device

    @field_validator("num_processes")
    @classmethod
    def _ranks_divide_the_batch(cls, num_processes: int, info: ValidationInfo) -> int:
        batch_size = info.data.get("batch_size", num_processes)
        if batch_size % num_processes:
            raise ValueError(f"{num_processes} ranks do not divide train.batch_size {batch_size}")
        return num_processes


class AnalysisConfig(Section):
    """Statistics of the report."""

    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of every interval.")
    num_bootstrap: int = Field(
        10_000, ge=100, le=100_000, description="Draws for the intervals of multipliers; at least 10,000 are taken."
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="Seed of the draws.")
    seed_variance: Literal["pooled", "own"] = Field(
        "pooled",
        description="Noise between seeds: over all arms unless a test finds them unequally noisy, or each pair's own.",
    )
    equivalence_margin: float = Field(
        0.02, gt=0, le=10, description="Nats within which two arms are called equal, where that is shown."
    )
    baseline: str = Field("real_only", description="The arm that differences and multipliers refer to.")
