"""How much memory the models will take, estimated from their shapes before anything is loaded.

The formulas, with N parameters, T trained ones (all, or the LoRA adapters), R ranks; bytes:
- Learner, bfloat16: weights 2N; gradients 2T; float32 master weights and Adam's two moments 12T.
  float32: 4N, 4T, 8T. ZeRO stage 1 divides the optimizer state by R, stage 2 the gradients too,
  stage 3 the weights too (Rajbhandari et al., arXiv:1910.02054). Offloading moves the optimizer
  state to the host. A KL reference adds 2N.
- Activations of one micro-batch of t tokens: 34 x hidden x t for each layer (Korthikanti et al.,
  arXiv:2205.05198, without the attention matrix, which fused attention never stores); with gradient
  checkpointing 2 x hidden x t for each layer and one layer in full. Logits 10 x vocabulary x t:
  bfloat16, a float32 copy and its gradient.
- Engine: weights 2N / tensor_parallel_size; key-value cache 2 x layers x key-value heads x head
  size x bytes a token. float32 doubles both.
What allocators and CUDA contexts add (a few GB) is not in the figures.
"""

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from learner.config import LearnerConfig
from rollout.config import EngineConfig

GIB = float(2**30)


class ModelShape(msgspec.Struct, frozen=True, kw_only=True):
    """What the estimates need of a model; zeros where only its size is known."""

    num_parameters: float
    num_layers: int = 0
    hidden_size: int = 0
    intermediate_size: int = 0
    num_key_value_heads: int = 0
    head_size: int = 0
    vocabulary: int = 0
    origin: str
    """Where the numbers come from."""


class MemoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One part of one actor's memory."""

    actor: str
    part: str
    gib: float


def shape_of(model: str) -> ModelShape | None:
    """The shape from the model's config.json (a folder, or already in the hub's cache), else the size
    in its name ("Qwen3-1.7B"), else None. Downloads nothing.
    """
    config = _config_file(model)
    if config is not None:
        return _from_config(json.loads(config.read_text(encoding="utf-8")), str(config))
    size = re.search(r"(\d+(?:\.\d+)?)([bm])\b", model.lower())
    if size is None:
        return None
    scale = 1e9 if size[2] == "b" else 1e6
    return ModelShape(num_parameters=float(size[1]) * scale, origin=f"the size in the name {model}")


def _config_file(model: str) -> Path | None:
    local = Path(model).expanduser() / "config.json"
    if local.is_file():
        return local
    if model.count("/") != 1:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model, "config.json")
    return Path(cached) if isinstance(cached, str) else None


def _from_config(config: dict[str, Any], origin: str) -> ModelShape:
    """Count the parameters of a dense decoder with gated MLPs (Llama, Qwen, Mistral and their kin)."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    heads = config["num_attention_heads"]
    key_value_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    intermediate, vocabulary = config["intermediate_size"], config["vocab_size"]
    attention = hidden * head * (2 * heads + 2 * key_value_heads)
    embeddings = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    parameters = embeddings + layers * (attention + 3 * hidden * intermediate + 2 * hidden) + hidden
    return ModelShape(
        num_parameters=parameters,
        num_layers=layers,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_key_value_heads=key_value_heads,
        head_size=head,
        vocabulary=vocabulary,
        origin=origin,
    )


def lora_parameters(shape: ModelShape, rank: int) -> float:
    """Parameters of rank-r adapters on all linear layers; 0.5% a rank of 16 where the shape is unknown."""
    if not shape.num_layers:
        return shape.num_parameters * 0.005 * rank / 16
    hidden, key_value = shape.hidden_size, shape.num_key_value_heads * shape.head_size
    sides = 2 * (hidden + hidden) + 2 * (hidden + key_value) + 3 * (hidden + shape.intermediate_size)
    return float(shape.num_layers * rank * sides)


def learner_memory(shape: ModelShape, config: LearnerConfig) -> list[MemoryLine]:
    """Memory of one learner rank, by the formulas of this module."""
    trained = lora_parameters(shape, config.lora_rank) if config.lora_rank else shape.num_parameters
    per_weight, per_moment = (2, 12) if config.dtype == "bfloat16" else (4, 8)
    stage, ranks = config.zero_stage, config.num_ranks
    parts = {
        "weights": per_weight * shape.num_parameters / (ranks if stage >= 3 else 1),
        "gradients": per_weight * trained / (ranks if stage >= 2 else 1),
        f"optimizer{' (on the host)' if config.offload_optimizer else ''}": per_moment
        * trained
        / (ranks if stage >= 1 else 1),
    }
    if config.kl_coefficient > 0:
        parts["reference"] = per_weight * shape.num_parameters / (ranks if stage >= 3 else 1)
    if shape.num_layers:
        parts["activations and logits"] = _activations(shape, config)
    return [MemoryLine(actor="learner rank", part=part, gib=size / GIB) for part, size in parts.items()]


def _activations(shape: ModelShape, config: LearnerConfig) -> float:
    tokens, layer = config.micro_batch_tokens, 34 * shape.hidden_size
    if config.gradient_checkpointing:
        kept = 2 * shape.hidden_size * shape.num_layers + layer
    else:
        kept = layer * shape.num_layers
    return float(tokens * (kept + 10 * shape.vocabulary))


def engine_memory(actor: str, shape: ModelShape, config: EngineConfig) -> list[MemoryLine]:
    """Weights of one engine on each of its GPUs, and the cache of one sequence of the greatest length."""
    size, parallel = (4 if config.dtype == "float32" else 2), config.tensor_parallel_size
    lines = [MemoryLine(actor=actor, part="weights", gib=size * shape.num_parameters / parallel / GIB)]
    if shape.num_layers:
        token = 2 * shape.num_layers * shape.num_key_value_heads * shape.head_size * size / parallel
        part = f"key-value cache of one sequence of {config.max_model_len:,} tokens"
        lines.append(MemoryLine(actor=actor, part=part, gib=token * config.max_model_len / GIB))
    return lines
