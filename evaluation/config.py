"""Configuration of the evaluators."""

import msgspec

from rollout.config import EngineConfig


class EvaluationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Evaluator actors and what they run."""

    num_evaluators: int = 1
    """Evaluator actors, each with an engine of its own; 0 turns evaluation off."""
    engine: EngineConfig = EngineConfig()
    every_steps: int = 25
    """A checkpoint is written and evaluated every so many optimizer steps, and at the end."""
    names: tuple[str, ...] = ()
    """Evaluations to run; empty: all that the data offers."""
    max_items: int = 0
    """Most items of one evaluation, taken evenly; 0: all."""
    temperature: float = 1.0
    timeout_s: float = 3600.0
    """Seconds that the suite may take on one checkpoint."""
    drain_timeout_s: float = 3600.0
    """Seconds that the end of a run waits for the evaluations still under way."""
