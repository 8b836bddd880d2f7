"""Records of the benchmark: what one system did on one workload, and all of it together."""

import msgspec


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a system went, warm-up excluded."""

    step_seconds: tuple[float, ...]
    """Wall seconds of each measured step; for a bare engine, of each measured batch."""
    num_samples: int
    """Completions of all measured steps."""
    num_tokens: int
    """Their tokens, counted, not assumed."""

    @property
    def num_steps(self) -> int:
        """Steps that the figures rest on."""
        return len(self.step_seconds)

    @property
    def samples_per_s(self) -> float:
        """Completions a second."""
        return self.num_samples / sum(self.step_seconds)

    @property
    def tokens_per_s(self) -> float:
        """Completion tokens a second."""
        return self.num_tokens / sum(self.step_seconds)


class OurMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """Our system end to end, and where its time went."""

    total: Measurement
    phases: dict[str, float]
    """Mean wall seconds a step in which a phase was under way. Phases overlap: generation goes on during training."""
    start_seconds: float
    """From the command to the start of the first optimizer step: Ray, engines, learner, first sync, checkpoint."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All systems on one workload."""

    model: str
    num_parameters: int
    num_rollouts: int
    new_tokens: int
    ours: OurMeasurement
    engine: Measurement
    """The same engine alone (`rollout.vllm_engine.VllmEngine`)."""
    llm: Measurement
    """vLLM's own `LLM.generate`, without log-probabilities."""
    trl: Measurement | None
    """None when left out."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    cpu: str
    cores: int
    memory_gib: float
    versions: dict[str, str]
    """Of the packages that decide the speed."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the benchmark."""

    date: str
    machine: Machine
    num_warmup: int
    """Steps of every system that came before those measured."""
    max_policy_lag: int
    threads_each: int
    """Threads of our engine, of our learner and of the bare engines; TRL has all cores."""
    comparisons: tuple[Comparison, ...]
