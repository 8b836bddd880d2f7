"""Configuration of the learner."""

from typing import Literal

import msgspec

Estimator = Literal["grpo", "dr_grpo", "rloo", "reinforce_pp"]


class LearnerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Optimization: what one DeepSpeed learner does with a batch."""

    num_ranks: int = 1
    """Data-parallel ranks; one GPU each, or one CPU process each."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the forward and backward pass; master weights and optimizer state are float32."""
    optimizer: Literal["torch_adam", "deepspeed_adam"] = "torch_adam"
    learning_rate: float = 1e-6
    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 1.0
    estimator: Estimator = "grpo"
    clip_low: float = 0.2
    """PPO clip: the ratio stays above 1 - clip_low."""
    clip_high: float = 0.28
    """PPO clip: the ratio stays below 1 + clip_high."""
    importance_cap: float = 2.0
    """Truncated importance correction of trainer/rollout mismatch: weights are capped here. 0: no weights;
    the PPO clip then acts on the ratio to the rollout policy (above 0 there is nothing for it to clip)."""
    length_normalizer: int = 512
    """Constant that dr_grpo and rloo divide a completion's summed token losses by; its usual value is the
    completion length limit. The other estimators do not use it."""
    kl_coefficient: float = 0.0
    """Weight of the KL to the reference policy; 0 loads no reference."""
    micro_batch_tokens: int = 16_384
    """Most tokens (padding included) of one forward pass on one rank."""
    attention: Literal["sdpa", "flash_attention_2", "eager"] = "sdpa"
    """Attention kernels. On a CPU in bfloat16 with short sequences "eager" halves the time of a step: torch's
    fused kernel has a slow backward pass there."""
    gradient_checkpointing: bool = False
    lora_rank: int = 0
    """Rank of LoRA adapters on all linear layers; 0 trains all weights."""
    lora_alpha: int = 32
    offload_optimizer: bool = False
    """Keep optimizer state in host memory (ZeRO-Offload)."""
    cpu_threads: int = 1
    """Torch threads of one rank on a CPU."""
    step_timeout_s: float = 1800.0
    """Seconds that one optimizer step may take."""
