"""Group-relative advantages: one small function for each estimator.

A completion that could not be graded has reward None. It gets advantage None and takes no part in
any mean or deviation, so the other completions' advantages are what they would be without it.

- grpo: (r - mean of group) / standard deviation of group (arXiv 2402.03300). The deviation divides
  by n - 1, as in the usual implementations.
- dr_grpo: r - mean of group, without the division that favours nearly solved prompts (arXiv 2503.20783).
- rloo: r - mean of the *other* completions of the group (arXiv 2402.14740).
- reinforce_pp: REINFORCE++ with the group baseline (arXiv 2501.03262): r - mean of group, divided by
  the standard deviation of these differences over all completions of the batch.

Example:
    >>> advantages([(1.0, None, 0.0)], "dr_grpo")
    [[0.5, None, -0.5]]
"""

import math
from collections.abc import Callable, Sequence

from learner.config import Estimator

Rewards = Sequence[float | None]

MIN_SPREAD = 1e-9
"""Rewards that differ by less are the same reward: rounding noise must not be scaled up to a signal."""


def has_signal(rewards: Rewards) -> bool:
    """True when the graded rewards of a group differ, so that training on it moves the policy."""
    graded = _graded(rewards)
    return bool(graded) and max(graded) - min(graded) > MIN_SPREAD


def advantages(groups: Sequence[Rewards], estimator: Estimator) -> list[list[float | None]]:
    """Advantage of every completion of a batch, in the order of `groups`; None where the reward is None.

    Raises:
        ValueError: a reward is NaN or infinite.
    """
    for rewards in groups:
        _check_finite(rewards)
    if estimator == "reinforce_pp":
        return _scale_to_batch([_each(rewards, dr_grpo) for rewards in groups])
    return [_each(rewards, _GROUP_ESTIMATORS[estimator]) for rewards in groups]


def grpo(rewards: Sequence[float]) -> list[float]:
    """Differences from the group's mean, in units of the group's standard deviation."""
    centred = dr_grpo(rewards)
    deviation = _deviation(centred)
    return [value / deviation for value in centred] if deviation > 0 else centred


def dr_grpo(rewards: Sequence[float]) -> list[float]:
    """Differences from the group's mean; exactly 0 for a group without signal."""
    if not has_signal(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    return [reward - mean for reward in rewards]


def rloo(rewards: Sequence[float]) -> list[float]:
    """Differences from the mean of the group's other completions: n / (n - 1) times those from its mean."""
    if len(rewards) < 2:
        return [0.0] * len(rewards)
    return [value * len(rewards) / (len(rewards) - 1) for value in dr_grpo(rewards)]


_GROUP_ESTIMATORS: dict[Estimator, Callable[[Sequence[float]], list[float]]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
}


def _each(rewards: Rewards, estimate: Callable[[Sequence[float]], list[float]]) -> list[float | None]:
    """Estimate over the graded rewards; put None back where there was no grade."""
    values = iter(estimate(_graded(rewards)))
    return [None if reward is None else next(values) for reward in rewards]


def _scale_to_batch(groups: list[list[float | None]]) -> list[list[float | None]]:
    deviation = _deviation([value for group in groups for value in _graded(group)])
    if deviation == 0:
        return groups
    return [[None if value is None else value / deviation for value in group] for group in groups]


def _deviation(centred: Sequence[float]) -> float:
    """Sample standard deviation of values whose mean is 0; 0 for fewer than two."""
    if len(centred) < 2:
        return 0.0
    return math.sqrt(math.fsum(value * value for value in centred) / (len(centred) - 1))


def _graded(rewards: Rewards) -> list[float]:
    return [reward for reward in rewards if reward is not None]


def _check_finite(rewards: Rewards) -> None:
    if not all(math.isfinite(reward) for reward in _graded(rewards)):
        raise ValueError(f"a reward is not a finite number in {list(rewards)}; a grade without a number must be None")
