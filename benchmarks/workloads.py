"""What is measured: two models of random weights, and how many rollouts a step takes.

Imports nothing heavy.
"""

import os
from collections.abc import Sequence

import msgspec

from rollout.config import EngineConfig

GROUP_SIZE = 8
"""Completions of one prompt."""
VOCABULARY = 2048
PROMPT_WORDS = 16
"""Words of a prompt; each is two tokens or so."""
NUM_WARMUP = 3
"""Steps before the first one that counts: first requests, allocations, and a pipeline that fills."""
MAX_POLICY_LAG = 1
"""Versions that generation may run ahead: the system's default, and what lets it overlap with training."""


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A Qwen2-shaped model with untied embeddings."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    new_tokens: int
    """Tokens of every completion: it can end neither sooner nor later."""


MODELS = {
    "tiny": ModelSpec(
        name="tiny",
        hidden_size=128,
        intermediate_size=384,
        num_layers=4,
        num_heads=4,
        num_kv_heads=2,
        new_tokens=64,
    ),
    "small": ModelSpec(
        name="small",
        hidden_size=384,
        intermediate_size=1280,
        num_layers=8,
        num_heads=6,
        num_kv_heads=3,
        new_tokens=128,
    ),
}


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one batch size."""

    model: ModelSpec
    num_rollouts: int
    """Completions of one optimizer step, all of it one batch."""
    num_steps: int
    """Steps that are measured, after `NUM_WARMUP`."""

    @property
    def name(self) -> str:
        """A name for folders and messages."""
        return f"{self.model.name}-{self.num_rollouts}"

    @property
    def groups_per_step(self) -> int:
        """Prompts of one step."""
        return self.num_rollouts // GROUP_SIZE

    @property
    def num_prompts(self) -> int:
        """Enough for all steps: an engine would still know the prefix of a prompt that came again."""
        return self.groups_per_step * (NUM_WARMUP + self.num_steps + MAX_POLICY_LAG)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def threads_each() -> int:
    """Threads of our engine and of our learner: they work at the same time, so each has half of the cores."""
    return max(1, num_cores() // 2)


def engine_config() -> EngineConfig:
    """The settings of our engine, in a run and alone."""
    return EngineConfig(max_model_len=512, max_num_seqs=256, kv_cache_gib=1.0, cpu_threads=threads_each())


def require_lengths(lengths: Sequence[int], workload: Workload, number: int, system: str) -> int:
    """The number of completions, once it is sure that all are there, each with exactly its tokens.

    Raises:
        RuntimeError: some are missing, or longer or shorter: the throughput would not be comparable.
    """
    wanted = workload.model.new_tokens
    if len(lengths) != number or set(lengths) != {wanted}:
        raise RuntimeError(
            f"{system} on {workload.name}: {len(lengths)} completions of {sorted(set(lengths))} tokens, "
            f"where {number} of {wanted} were asked for"
        )
    return number
