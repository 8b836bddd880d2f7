"""Is every source still teaching? Windowed health of each source, and words when one has stopped.

Group-relative training fails quietly: a source whose groups are all alike, all cut short or all
ungraded contributes no gradient, and the loss curve does not show it.
"""

from collections import deque

import msgspec

WINDOW = 64
"""Attempts of one source that the shares are taken over."""
MIN_ATTEMPTS = 16
"""Fewer attempts than this say nothing yet."""
SILENT_SHARE = 0.9
"""A source has stopped teaching when at least this share of its recent attempts gave no gradient."""
TRUNCATED_SHARE = 0.5
"""More truncated completions than this are worth words."""


class AttemptHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What one attempt at a slot showed. Shares are of the group's completions, in [0, 1]."""

    rewards: tuple[float, ...]
    """Rewards of the graded completions."""
    truncated: float
    ungraded: float
    zero_variance: bool
    """True when the graded rewards are all equal: no advantage, no gradient."""


class Diagnosis:
    """Keeps the last `WINDOW` attempts of each source."""

    def __init__(self) -> None:
        self._attempts: dict[str, deque[AttemptHealth]] = {}
        self._warned: dict[str, str] = {}

    def observe(self, source: str, health: AttemptHealth) -> None:
        """Add an attempt."""
        self._attempts.setdefault(source, deque(maxlen=WINDOW)).append(health)

    def metrics(self) -> dict[str, float]:
        """For each source: reward mean, spread within groups, truncated, zero-variance and ungraded share."""
        figures: dict[str, float] = {}
        for source, window in self._attempts.items():
            figures[f"zero_variance/{source}"] = _mean([attempt.zero_variance for attempt in window])
            figures[f"truncated/{source}"] = _mean([attempt.truncated for attempt in window])
            figures[f"ungraded/{source}"] = _mean([attempt.ungraded for attempt in window])
            spreads = [_spread(attempt.rewards) for attempt in window if attempt.rewards]
            if spreads:
                figures[f"reward_spread/{source}"] = _mean(spreads)
        return figures

    def words(self) -> list[str]:
        """One sentence for each source whose state has become worrying since the last call."""
        sentences = []
        for source, window in self._attempts.items():
            sentence = _sentence(source, window) if len(window) >= MIN_ATTEMPTS else ""
            kind = sentence.split(":")[0]
            if sentence and self._warned.get(source) != kind:
                sentences.append(sentence)
            self._warned[source] = kind
        return sentences


def _sentence(source: str, window: "deque[AttemptHealth]") -> str:
    ungraded = _mean([attempt.ungraded for attempt in window])
    if ungraded >= SILENT_SHARE:
        return f"{source} cannot be graded: {ungraded:.0%} of its last completions have no verdict. Look at the judge."
    truncated = _mean([attempt.truncated for attempt in window])
    if truncated >= TRUNCATED_SHARE:
        return (
            f"{source} is cut short: {truncated:.0%} of its last completions hit the token limit. "
            "Raise rollout.sampling.max_tokens."
        )
    silent = _mean([attempt.zero_variance for attempt in window])
    if silent < SILENT_SHARE:
        return ""
    rewards = [reward for attempt in window for reward in attempt.rewards]
    level = _mean(rewards) if rewards else 0.0
    return (
        f"{source} has stopped teaching: in {silent:.0%} of its last {len(window)} groups all rewards are equal "
        f"(mean {level:.2f}). Its prompts are too easy or too hard for this policy."
    )


def _mean(values: "list[float] | list[bool]") -> float:
    return sum(values) / len(values)


def _spread(values: tuple[float, ...]) -> float:
    mean = sum(values) / len(values)
    return float((sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5)
