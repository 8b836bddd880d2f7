"""Configuration of the grader fleet."""

import msgspec

from rollout.config import EngineConfig


class GradingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The judge and the fleet that runs it."""

    model: str = "miniature"
    """The judge: a Hugging Face id or folder, or "miniature" for the miniature world's own."""
    num_engines: int = 1
    engine: EngineConfig = EngineConfig()
    template: str = "default"
    """Name of a judge prompt in `grading/prompts/`, or the path of a text file of the same form."""
    temperature: float = 0.0
    max_tokens: int = 256
    """Most tokens of one verdict."""
    request_timeout_s: float = 120.0
    """Seconds that one verdict may take."""
    retries: int = 2
    """Further tries after a failed or unparsable verdict, before it counts as ungraded."""
    max_concurrent: int = 256
    """Most verdicts under way on one engine."""
    cache_size: int = 200_000
    """Verdicts kept in memory; 0 turns the cache off."""
