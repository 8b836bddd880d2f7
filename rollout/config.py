"""Configuration of the rollout side: engines, sampling, the mix."""

from typing import Literal

import msgspec

from rollout.types import SamplingConfig


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One vLLM engine. The same fields serve the rollout, the grader and the evaluator fleets."""

    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    max_model_len: int = 4096
    """Longest prompt and completion together, in tokens."""
    max_num_seqs: int = 256
    """Most sequences decoded at once."""
    tensor_parallel_size: int = 1
    """GPUs of one engine; 1 on a CPU."""
    gpu_memory_utilization: float = 0.85
    """Share of a GPU's memory that an engine may take, in (0, 1]. Unused on a CPU."""
    kv_cache_gib: float = 0.5
    """Key-value cache of an engine on a CPU, in GiB. Unused on a GPU."""
    cpu_threads: int = 1
    """OpenMP threads of an engine on a CPU."""
    enforce_eager: bool = False
    """Skip compilation and CUDA graphs: starts faster, runs slower. Always on on a CPU."""
    sleep_mode: bool = False
    """Free the GPU between uses (vLLM's sleep mode), so that engines can take turns on one card."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Leave it off unless you have read that code."""
    start_timeout_s: float = 600.0
    """Seconds that an engine may take to start."""


class RolloutConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rollout fleet."""

    num_engines: int = 1
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    """`num_samples` here is the group size G of group-relative advantages."""
    max_concurrent_groups: int = 64
    """Most groups under way on one engine; more wait their turn (back pressure)."""
    request_timeout_s: float = 300.0
    """Seconds that one group may take before it counts as failed."""
    max_attempts: int = 4
    """Prompts tried in one slot before a group without reward variance is trained all the same
    (it adds no gradient, and keeps the mix exact)."""
    max_failures: int = 8
    """Failed attempts (engine errors, all completions ungraded) of one slot before the run stops."""


class SyncConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How weights travel from the learner to the rollout fleet."""

    backend: Literal["gloo", "nccl"] = "gloo"
    """vLLM weight-transfer back end: gloo on CPUs, nccl (packed) on GPUs."""
    parity_tolerance: float = 0.05
    """Largest allowed |log-probability difference| (nats) between engine and learner on the probe
    after a sync; an engine beyond it is quarantined."""
    timeout_s: float = 300.0
    """Seconds that one sync may take."""


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of training prompts and its share."""

    name: str
    fraction: float
    """Share of what is trained, in [0, 1]; the fractions of all sources add up to 1."""
    intervention: bool = False
    """True for the one source whose prompts the arm decides."""


class MixConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mix of sources."""

    sources: tuple[SourceConfig, ...] = (
        SourceConfig(name="standard", fraction=0.95),
        SourceConfig(name="intervention", fraction=0.05, intervention=True),
    )
    unit: Literal["groups", "tokens"] = "groups"
    """What the fractions count: trained groups, or trained tokens."""
