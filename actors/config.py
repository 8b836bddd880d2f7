"""The whole configuration of a run or an experiment: one TOML file, one Struct."""

from typing import Literal

import msgspec

from evaluation.config import EvaluationConfig
from grading.config import GradingConfig
from learner.config import LearnerConfig
from rollout.arms import ARMS, Arm
from rollout.config import MixConfig, RolloutConfig, SyncConfig
from scenarios.config import DataConfig


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the actors go."""

    address: str = ""
    """A Ray cluster's address; empty: RAY_ADDRESS if set (as in a Ray job), else a local Ray is started."""
    device: Literal["cpu", "cuda"] = "cpu"
    num_cpus: int = 0
    """CPUs that a locally started Ray offers; 0: all of the machine's."""
    share_gpu: bool = False
    """Learner, rollout and grader engines take turns on the same GPUs (needs `sleep_mode`)."""
    placement_timeout_s: float = 30.0
    """Seconds to wait for the cluster to grant the placement before saying what is missing."""
    call_timeout_s: float = 120.0
    """Deadline of remote calls that have none of their own."""


class CheckpointConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a run."""

    every_steps: int = 25
    """Optimizer steps between resumable checkpoints; the last step always has one."""
    keep: int = 2
    """Resumable states (optimizer included) that are kept; weights of all evaluated checkpoints stay."""


class ExperimentConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several runs that differ in arm and seed only."""

    arms: tuple[str, ...] = ("baseline", "multi_domain")
    """The first is what the others are compared with."""
    seeds: tuple[int, ...] = (0,)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything. `train` runs one `arm` with one `seed`; `experiment` runs those of `experiment`."""

    name: str
    """Name of the run's folder under `output_dir`."""
    output_dir: str = "runs"
    model: str = "miniature"
    """The starting policy: a Hugging Face id or folder, or "miniature" for the miniature world's own."""
    cache_dir: str = ".cache/beneficial-rl"
    """Where the miniature world's trained models are kept."""
    seed: int = 0
    arm: str = "multi_domain"
    """Name of an entry of `arms`."""
    steps: int = 100
    """Optimizer steps."""
    groups_per_step: int = 32
    """Rollout groups in one optimizer step."""
    max_policy_lag: int = 1
    """No trained token is older than this many policy versions; 0 is fully on-policy."""
    data: DataConfig = DataConfig()
    mix: MixConfig = MixConfig()
    rollout: RolloutConfig = RolloutConfig()
    sync: SyncConfig = SyncConfig()
    grading: GradingConfig = GradingConfig()
    learner: LearnerConfig = LearnerConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    cluster: ClusterConfig = ClusterConfig()
    experiment: ExperimentConfig = ExperimentConfig()
    arms: dict[str, Arm] = msgspec.field(default_factory=lambda: dict(ARMS))
