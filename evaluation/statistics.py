"""Statistics of evaluations: differences, intervals, tests. None stands wherever there is nothing to say.

One idea carries the module: a sample's *cluster* is the item that it answers, and every standard error
is built from the sums of residuals over clusters, so that asking one item ten times never counts as ten
items (Miller 2024, "Adding error bars to evals", arXiv:2411.00640). Where each cluster holds one sample,
all of it reduces to the textbook formulas.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = Sequence[float] | NDArray[np.float64]


class Estimate(NamedTuple):
    """An effect with its 95% interval and two-sided p value."""

    effect: float
    stderr: float
    df: float
    """Degrees of freedom of the t distribution behind `low`, `high` and `p`."""
    low: float
    high: float
    p: float
    """For the hypothesis that the effect is 0."""


class Wins(NamedTuple):
    """How many of several differences are above and below zero, and how surprising that is."""

    wins: int
    losses: int
    ties: int
    p: float | None
    """Two-sided exact sign test without the ties; None when everything ties."""


def estimate(effect: float, stderr: float, df: float) -> Estimate | None:
    """Interval and p value of an effect from the t distribution; None without spread or freedom."""
    if not (math.isfinite(stderr) and stderr > 0 and df > 0):
        return None
    half = float(stats.t.ppf(0.975, df)) * stderr
    p = 2 * float(stats.t.sf(abs(effect) / stderr, df))
    return Estimate(effect, stderr, df, effect - half, effect + half, p)


def welch(treated: Values, control: Values) -> Estimate | None:
    """Welch's t test of mean(treated) - mean(control) (Welch 1947). None under two values on a side."""
    if min(len(treated), len(control)) < 2:
        return None
    part_t, part_c = (float(np.var(side, ddof=1)) / len(side) for side in (treated, control))
    variance = part_t + part_c
    if variance <= 0:
        return None
    df = variance**2 / (part_t**2 / (len(treated) - 1) + part_c**2 / (len(control) - 1))
    return estimate(float(np.mean(treated) - np.mean(control)), math.sqrt(variance), df)


def paired(treated: Values, control: Values) -> Estimate | None:
    """Paired t test of treated[i] - control[i]. None under two pairs or when all differences agree.

    Raises:
        ValueError: the two have different lengths.
    """
    if len(treated) != len(control):
        raise ValueError(f"a paired test needs pairs: got {len(treated)} treated and {len(control)} control values")
    return mean_estimate(np.asarray(treated, dtype=float) - np.asarray(control, dtype=float))


def mean_estimate(values: Values) -> Estimate | None:
    """One-sample t test of the mean against 0; None under two values or without spread."""
    if len(values) < 2:
        return None
    return estimate(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values)), len(values) - 1)


def clustered_standard_error(values: Values, clusters: Sequence[Hashable]) -> float | None:
    """Standard error of the mean with residuals summed over clusters; None under two clusters.

    sqrt(C / (C - 1) * sum over clusters of (sum of residuals)^2) / n, as in arXiv:2411.00640 with the usual
    small-sample factor, so that clusters of one give the ordinary standard error.
    """
    sums = _residual_sums(values, clusters)
    if len(sums) < 2:
        return None
    return math.sqrt(_cluster_variance(list(sums.values())))


def clustered_difference(
    treated: Values, treated_clusters: Sequence[Hashable], control: Values, control_clusters: Sequence[Hashable]
) -> Estimate | None:
    """Difference of two means whose samples answer the same items: both sides cluster on the item.

    An item that both sides answer contributes the difference of its two residual sums, which takes out what
    the item's difficulty adds to both. With equally many samples an item this is the paired t test of item
    means; with no item in common it is Welch's standard error with (number of items - 1) degrees of freedom.

    Returns:
        None when a side is empty, under two items in all, or without spread.
    """
    if len(treated) == 0 or len(control) == 0:
        return None
    sums_t, sums_c = _residual_sums(treated, treated_clusters), _residual_sums(control, control_clusters)
    items = list(dict.fromkeys([*sums_t, *sums_c]))
    if len(items) < 2:
        return None
    parts = [sums_t.get(item, 0.0) - sums_c.get(item, 0.0) for item in items]
    effect = float(np.mean(treated) - np.mean(control))
    return estimate(effect, math.sqrt(_cluster_variance(parts)), len(items) - 1)


def mean_of_estimates(estimates: Sequence[Estimate], exact: Sequence[float] = ()) -> Estimate | None:
    """Mean of independent effects, each weighing the same, with Satterthwaite's degrees of freedom.

    Args:
        estimates: Effects with their standard errors.
        exact: Further effects that have no spread (every sample of a side agreed).

    Returns:
        None without any spread.
    """
    variances = [part.stderr**2 for part in estimates]
    if not estimates:
        return None
    df = sum(variances) ** 2 / sum(v**2 / part.df for v, part in zip(variances, estimates, strict=True))
    number = len(estimates) + len(exact)
    effect = (sum(part.effect for part in estimates) + sum(exact)) / number
    return estimate(effect, math.sqrt(sum(variances)) / number, df)


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """q values (Benjamini and Hochberg 1995) of one family of tests, in order; a missing p stays missing."""
    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values)
    adjusted = iter(stats.false_discovery_control(known, method="bh").tolist())
    return [None if p is None else float(next(adjusted)) for p in p_values]


def win_count(differences: Sequence[float]) -> Wins:
    """Wins, losses and ties of differences, with the exact sign test of wins against losses."""
    wins = sum(difference > 0 for difference in differences)
    losses = sum(difference < 0 for difference in differences)
    return Wins(wins, losses, len(differences) - wins - losses, sign_test(wins, losses))


def sign_test(wins: int, losses: int) -> float | None:
    """Two-sided exact binomial test that wins and losses are equally likely; None for no trial."""
    if wins + losses == 0:
        return None
    return float(stats.binomtest(wins, wins + losses, 0.5).pvalue)


def proportion_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Wilson's 95% interval of a share (Wilson 1927); None for no trial."""
    if trials == 0:
        return None
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(
    values: Values,
    clusters: Sequence[Hashable],
    *,
    seed: int,
    statistic: Callable[[NDArray[np.float64]], float] = lambda drawn: float(np.mean(drawn)),
    num_draws: int = 2000,
) -> tuple[float, float] | None:
    """95% percentile interval of a statistic when whole clusters are drawn anew; None under two clusters."""
    members = _members(clusters)
    if len(members) < 2:
        return None
    data, generator = np.asarray(values, dtype=float), np.random.default_rng(seed)
    groups = [data[index] for index in members.values()]
    draws = generator.integers(0, len(groups), size=(num_draws, len(groups)))
    drawn = [statistic(np.concatenate([groups[index] for index in draw])) for draw in draws]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _members(clusters: Sequence[Hashable]) -> Mapping[Hashable, list[int]]:
    members: dict[Hashable, list[int]] = {}
    for index, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(index)
    return members


def _residual_sums(values: Values, clusters: Sequence[Hashable]) -> Mapping[Hashable, float]:
    """For each cluster, its samples' residuals from the mean, summed and divided by the number of samples."""
    if len(values) != len(clusters):
        raise ValueError(f"each value needs a cluster: got {len(values)} values and {len(clusters)} clusters")
    residuals = (np.asarray(values, dtype=float) - np.mean(values)) / len(values)
    return {cluster: float(residuals[index].sum()) for cluster, index in _members(clusters).items()}


def _cluster_variance(sums: Sequence[float]) -> float:
    """Variance of a mean from its clusters' residual sums, which add up to zero."""
    return len(sums) / (len(sums) - 1) * sum(part**2 for part in sums)
