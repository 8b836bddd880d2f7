"""Compares an arm with the baseline: each evaluation, each family of tests, and what it all adds up to.

Samples of several seeds are pooled and clustered on the item, so an interval here is about items and samples
of *these* training runs. What another training seed would give, only the differences of the seeds can say:
they are kept beside it. Differences are of unclipped means.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from evaluation.statistics import (
    Estimate,
    Wins,
    benjamini_hochberg,
    clustered_difference,
    mean_estimate,
    mean_of_estimates,
    welch,
    win_count,
)
from evaluation.store import require_one_judge
from evaluation.types import EvaluationResult, Role, SampleScore

SIGNIFICANT = 0.05
"""Level of p and q below which a difference is called significant."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of two arms, all seeds together."""

    evaluation: str
    family: str
    role: Role
    judge: str
    baseline: float | None
    """Mean of the baseline's graded samples, unclipped; None when there are none."""
    arm: float | None
    estimate: Estimate | None
    """arm - baseline, clustered on the item."""
    welch_p: float | None
    """Welch's test of the same samples as if all were independent, as the paper reports it."""
    q: float | None = None
    """Benjamini-Hochberg over the evaluations of the same role."""
    per_seed: dict[int, float] = {}
    """The difference within each training seed."""
    num_items: int
    """Distinct items with a graded sample in either arm."""
    num_baseline: int
    """Graded samples."""
    num_arm: int
    num_ungraded: int
    """Of both arms."""

    @property
    def effect(self) -> float | None:
        """arm - baseline; None when a side has no score."""
        return None if self.arm is None or self.baseline is None else self.arm - self.baseline

    @property
    def is_gain(self) -> bool:
        """Whether the arm is significantly better after Benjamini-Hochberg."""
        return self._is_significant and (self.effect or 0.0) > 0

    @property
    def is_regression(self) -> bool:
        """Whether the arm is significantly worse after Benjamini-Hochberg."""
        return self._is_significant and (self.effect or 0.0) < 0

    @property
    def _is_significant(self) -> bool:
        return self.q is not None and self.q < SIGNIFICANT


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All evaluations of one role, together."""

    role: Role
    differences: tuple[Difference, ...]
    """Largest gain first."""
    baseline: float | None
    """Mean over evaluations of the baseline's mean."""
    arm: float | None
    wins: Wins
    mean_gain: float | None
    median_gain: float | None
    over_samples: Estimate | None
    """Mean gain on exactly these evaluations, if their items and samples were drawn anew."""
    over_evaluations: Estimate | None
    """Mean gain if other evaluations of this kind were drawn: each evaluation counts as one observation, so
    that a drift in one direction here and another there is noise. The test of transfer."""
    over_seeds: Estimate | None
    """Mean gain if the runs were trained anew; None under two seeds."""
    per_seed: dict[int, float]
    """Mean gain within each training seed."""

    @property
    def gains(self) -> int:
        """Evaluations that are significantly better."""
        return sum(difference.is_gain for difference in self.differences)

    @property
    def regressions(self) -> int:
        """Evaluations that are significantly worse."""
        return sum(difference.is_regression for difference in self.differences)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One arm against the baseline, at one step."""

    baseline: str
    arm: str
    step: int
    seeds: tuple[int, ...]
    """Training seeds that both arms have."""
    summaries: dict[Role, Summary]
    left_out: tuple[str, ...]
    """Evaluations that only one of the arms has."""

    def summary(self, role: Role) -> Summary | None:
        """The summary of one role, if any of its evaluations ran."""
        return self.summaries.get(role)


class _Sample(NamedTuple):
    seed: int
    item_id: str
    score: float


Pair = tuple[Sequence[_Sample], Sequence[_Sample]]
Select = Callable[[Sequence[EvaluationResult], Sequence[EvaluationResult]], Pair]


def final_step(results: Iterable[EvaluationResult]) -> int:
    """The last step that was evaluated in every run.

    Raises:
        ValueError: the runs have no evaluated step in common.
    """
    steps: dict[tuple[str, int], set[int]] = defaultdict(set)
    for result in results:
        steps[result.arm, result.seed].add(result.step)
    common = set.intersection(*steps.values()) if steps else set()
    if not common:
        found = {f"{arm} seed {seed}": sorted(of_run) for (arm, seed), of_run in steps.items()}
        raise ValueError(f"no step was evaluated in every run, so there is nothing to compare: {found}")
    return max(common)


def compare_arms(
    results: Iterable[EvaluationResult],
    baseline: str,
    arm: str,
    step: int | None = None,
    *,
    answered_only: bool = False,
) -> Comparison:
    """Compare `arm` with `baseline` at `step` (None: the last that all their runs have).

    Args:
        results: Of these arms, with samples; other arms are ignored.
        baseline: Name of the arm to compare with.
        arm: Name of the arm in question.
        step: Optimizer steps of the checkpoints to compare.
        answered_only: Keep only pairs of samples (same seed, item and place) where neither arm refused.

    Raises:
        JudgeMismatch: an evaluation was scored by different judges.
        ValueError: the arms share no seed, or no evaluated step.
    """
    chosen = [result for result in results if result.arm in (baseline, arm)]
    seeds = {name: {result.seed for result in chosen if result.arm == name} for name in (baseline, arm)}
    shared = seeds[baseline] & seeds[arm]
    if not shared:
        raise ValueError(f"{arm} and {baseline} have no evaluated seed in common: {seeds}")
    chosen = [result for result in chosen if result.seed in shared]
    at = final_step(chosen) if step is None else step
    chosen = [result for result in chosen if result.step == at]
    require_one_judge(chosen)
    sides = {name: _by_evaluation(result for result in chosen if result.arm == name) for name in (baseline, arm)}
    select = _answered if answered_only else _graded
    names = [name for name in sides[baseline] if name in sides[arm]]
    differences = [_difference(sides[arm][name], sides[baseline][name], select) for name in names]
    return Comparison(
        baseline=baseline,
        arm=arm,
        step=at,
        seeds=tuple(sorted(shared)),
        summaries={role: summary for role in Role if (summary := _summarize(role, differences)) is not None},
        left_out=tuple(sorted(sides[baseline].keys() ^ sides[arm].keys())),
    )


def mean_score(results: Iterable[EvaluationResult]) -> float | None:
    """Mean over evaluations of their mean over seeds, clipped as scores are; None without a score."""
    scores: dict[str, list[float]] = defaultdict(list)
    for result in results:
        if result.score is not None:
            scores[result.evaluation].append(result.score)
    return fmean(fmean(of_one) for of_one in scores.values()) if scores else None


def _by_evaluation(results: Iterable[EvaluationResult]) -> dict[str, list[EvaluationResult]]:
    grouped: dict[str, list[EvaluationResult]] = defaultdict(list)
    for result in results:
        grouped[result.evaluation].append(result)
    return grouped


def _difference(arm: Sequence[EvaluationResult], baseline: Sequence[EvaluationResult], select: Select) -> Difference:
    treated, control = select(arm, baseline)
    values_t, values_c = [sample.score for sample in treated], [sample.score for sample in control]
    tested = welch(values_t, values_c)
    return Difference(
        evaluation=arm[0].evaluation,
        family=arm[0].family,
        role=arm[0].role,
        judge=arm[0].judge or baseline[0].judge,
        baseline=fmean(values_c) if values_c else None,
        arm=fmean(values_t) if values_t else None,
        estimate=clustered_difference(
            values_t, [sample.item_id for sample in treated], values_c, [sample.item_id for sample in control]
        ),
        welch_p=None if tested is None else tested.p,
        per_seed=_seed_differences(treated, control),
        num_items=len({sample.item_id for sample in (*treated, *control)}),
        num_baseline=len(control),
        num_arm=len(treated),
        num_ungraded=sum(result.num_ungraded for result in (*arm, *baseline)),
    )


def _seed_differences(treated: Sequence[_Sample], control: Sequence[_Sample]) -> dict[int, float]:
    sides: list[dict[int, list[float]]] = [defaultdict(list), defaultdict(list)]
    for side, samples in zip(sides, (treated, control), strict=True):
        for sample in samples:
            side[sample.seed].append(sample.score)
    arm, baseline = sides
    return {seed: fmean(arm[seed]) - fmean(baseline[seed]) for seed in sorted(arm) if seed in baseline}


def _graded(arm: Sequence[EvaluationResult], baseline: Sequence[EvaluationResult]) -> Pair:
    """Every graded sample of each side."""
    treated, control = (
        [
            _Sample(result.seed, sample.item_id, sample.score)
            for result in side
            for sample in result.samples
            if sample.score is not None
        ]
        for side in (arm, baseline)
    )
    return treated, control


def _answered(arm: Sequence[EvaluationResult], baseline: Sequence[EvaluationResult]) -> Pair:
    """Samples in pairs of the same seed, item and place, where both are graded and neither refuses."""
    treated: list[_Sample] = []
    control: list[_Sample] = []
    of_baseline = _by_place(baseline)
    for (seed, item, place), sample in _by_place(arm).items():
        other = of_baseline.get((seed, item, place))
        if other is None or sample.is_refusal or other.is_refusal or sample.score is None or other.score is None:
            continue
        treated.append(_Sample(seed, item, sample.score))
        control.append(_Sample(seed, item, other.score))
    return treated, control


def _by_place(results: Sequence[EvaluationResult]) -> Mapping[tuple[int, str, int], SampleScore]:
    placed: dict[tuple[int, str, int], SampleScore] = {}
    for result in results:
        seen: dict[str, int] = defaultdict(int)
        for sample in result.samples:
            placed[result.seed, sample.item_id, seen[sample.item_id]] = sample
            seen[sample.item_id] += 1
    return placed


def _summarize(role: Role, differences: Sequence[Difference]) -> Summary | None:
    of_role = _with_q([difference for difference in differences if difference.role is role])
    if not of_role:
        return None
    scored = [difference for difference in of_role if difference.effect is not None]
    effects = [difference.arm - difference.baseline for difference in scored if difference.arm is not None
               and difference.baseline is not None]  # fmt: skip
    per_seed = _mean_by_seed(scored)
    return Summary(
        role=role,
        differences=tuple(sorted(of_role, key=lambda difference: -(difference.effect or 0.0))),
        baseline=fmean(d.baseline for d in scored if d.baseline is not None) if scored else None,
        arm=fmean(d.arm for d in scored if d.arm is not None) if scored else None,
        wins=win_count(effects),
        mean_gain=fmean(effects) if effects else None,
        median_gain=median(effects) if effects else None,
        over_samples=_over_samples(scored),
        over_evaluations=mean_estimate(effects),
        over_seeds=mean_estimate(list(per_seed.values())),
        per_seed=per_seed,
    )


def _over_samples(scored: Sequence[Difference]) -> Estimate | None:
    """Mean of the differences on fixed evaluations; None when one of them has under two items."""
    if any(difference.num_items < 2 for difference in scored):
        return None
    without_spread = [difference.effect or 0.0 for difference in scored if difference.estimate is None]
    return mean_of_estimates([d.estimate for d in scored if d.estimate is not None], without_spread)


def _with_q(differences: Sequence[Difference]) -> list[Difference]:
    q_values = benjamini_hochberg([None if d.estimate is None else d.estimate.p for d in differences])
    return [msgspec.structs.replace(d, q=q) for d, q in zip(differences, q_values, strict=True)]


def _mean_by_seed(differences: Sequence[Difference]) -> dict[int, float]:
    by_seed: dict[int, list[float]] = defaultdict(list)
    for difference in differences:
        for seed, effect in difference.per_seed.items():
            by_seed[seed].append(effect)
    return {seed: fmean(effects) for seed, effects in sorted(by_seed.items())}
