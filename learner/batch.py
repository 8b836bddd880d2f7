"""From graded groups to what one rank feeds its model: train samples, then token-budgeted micro-batches.

Nothing here needs torch. Every rank computes the same plan from the same samples, so no rank has to
tell another what it will do.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from learner.advantages import advantages
from learner.config import Estimator
from learner.types import TrainSample
from rollout.types import Completion, GradedGroup


class StaleSample(RuntimeError):
    """A completion is older than `max_policy_lag` allows: the flow control upstream is broken."""

    def __init__(self, completion_id: str, min_policy_version: int, policy_version: int, max_policy_lag: int) -> None:
        super().__init__(completion_id, min_policy_version, policy_version, max_policy_lag)
        self.completion_id, self.min_policy_version = completion_id, min_policy_version
        self.policy_version, self.max_policy_lag = policy_version, max_policy_lag

    def __str__(self) -> str:
        return (
            f"completion {self.completion_id} has tokens of policy version {self.min_policy_version}, but version "
            f"{self.policy_version} is being trained and max_policy_lag is {self.max_policy_lag}"
        )


class MicroBatch(NamedTuple):
    """Samples of one forward pass on one rank, padded to a common shape.

    Prompts are padded on the left and completions on the right, so that every completion starts at
    the same position.
    """

    samples: tuple[TrainSample, ...]

    @property
    def prompt_length(self) -> int:
        """Length of the longest prompt, tokens."""
        return max(len(sample.prompt_token_ids) for sample in self.samples)

    @property
    def completion_length(self) -> int:
        """Length of the longest completion, tokens."""
        return max(len(sample.completion_token_ids) for sample in self.samples)

    @property
    def padded_tokens(self) -> int:
        """Tokens that the forward pass computes, padding included."""
        return len(self.samples) * (self.prompt_length + self.completion_length)


def train_samples(
    groups: Sequence[GradedGroup], estimator: Estimator, *, policy_version: int, max_policy_lag: int
) -> list[TrainSample]:
    """Advantages of graded groups, as samples. Ungraded completions are left out.

    Args:
        groups: the groups of one optimizer step.
        estimator: which baseline and scale turn rewards into advantages.
        policy_version: the version (optimizer steps done) that this step starts from.
        max_policy_lag: how many versions older a completion's oldest token may be.

    Raises:
        StaleSample: a completion is older than that.
        ValueError: grades and completions of a group do not match, or a completion is malformed.
    """
    for group in groups:
        _check_grades(group)
        _check_lag(group, policy_version, max_policy_lag)
    rewards = [[grade.reward for grade in group.grades] for group in groups]
    return [
        _sample(group, completion, advantage)
        for group, values in zip(groups, advantages(rewards, estimator), strict=True)
        for completion, advantage in zip(group.group.completions, values, strict=True)
        if advantage is not None
    ]


def gradient_share(samples: Sequence[TrainSample]) -> dict[str, float]:
    """For each source, its share of the sum over completion tokens of |advantage|; 0 when all are 0."""
    weights: dict[str, float] = {}
    for sample in samples:
        weight = abs(sample.advantage) * len(sample.completion_token_ids)
        weights[sample.source] = weights.get(sample.source, 0.0) + weight
    total = math.fsum(weights.values())
    return {source: weight / total if total > 0 else 0.0 for source, weight in weights.items()}


def split_batch(
    samples: Sequence[TrainSample], num_ranks: int, micro_batch_tokens: int
) -> list[list[MicroBatch | None]]:
    """Micro-batches of every rank: the same number on each, so that collective calls match.

    Samples are sorted by prompt and completion length and dealt out in turn, so that the ranks'
    work and the samples' lengths within a micro-batch are alike. A micro-batch computes at most
    `micro_batch_tokens` tokens, padding included, unless it is one sample that is longer alone.
    A rank with too few micro-batches halves its largest; None fills up where that is not possible.
    """
    if micro_batch_tokens < 1:
        raise ValueError(f"micro_batch_tokens must be at least 1, got {micro_batch_tokens}")
    ordered = sorted(samples, key=_length_order)
    plans = [_fill(ordered[rank::num_ranks], micro_batch_tokens) for rank in range(num_ranks)]
    most = max(len(plan) for plan in plans)
    return [_extend(plan, most) for plan in plans]


def _fill(ordered: Sequence[TrainSample], budget: int) -> list[MicroBatch]:
    """Cut a sorted list wherever the next sample would exceed the budget."""
    cuts, start, prompt, completion = [0], 0, 0, 0
    for index, sample in enumerate(ordered):
        prompt = max(prompt, len(sample.prompt_token_ids))
        completion = max(completion, len(sample.completion_token_ids))
        if index > start and (index + 1 - start) * (prompt + completion) > budget:
            cuts.append(index)
            start, prompt, completion = index, len(sample.prompt_token_ids), len(sample.completion_token_ids)
    cuts.append(len(ordered))
    return [MicroBatch(tuple(ordered[first:last])) for first, last in pairwise(cuts) if last > first]


def _extend(plan: list[MicroBatch], count: int) -> list[MicroBatch | None]:
    plan = list(plan)
    while len(plan) < count and any(len(micro.samples) > 1 for micro in plan):
        largest = max(range(len(plan)), key=lambda index: (len(plan[index].samples) > 1, plan[index].padded_tokens))
        samples = plan[largest].samples
        half = len(samples) // 2
        plan[largest : largest + 1] = [MicroBatch(samples[:half]), MicroBatch(samples[half:])]
    return [*plan, *[None] * (count - len(plan))]


def _length_order(sample: TrainSample) -> tuple[int, int]:
    return len(sample.prompt_token_ids), len(sample.completion_token_ids)


def _sample(group: GradedGroup, completion: Completion, advantage: float) -> TrainSample:
    return TrainSample(
        prompt_token_ids=group.group.prompt_token_ids,
        completion_token_ids=completion.token_ids,
        rollout_logprobs=completion.logprobs,
        advantage=advantage,
        source=group.group.slot.source,
        slot=group.group.slot.index,
        min_policy_version=completion.min_policy_version,
    )


def _check_grades(group: GradedGroup) -> None:
    graded = [grade.completion_id for grade in group.grades]
    expected = [completion.completion_id for completion in group.group.completions]
    if graded != expected:
        raise ValueError(f"slot {group.group.slot.index}: grades of {graded} for the completions {expected}")
    for completion in group.group.completions:
        if not completion.token_ids or len(completion.token_ids) != len(completion.logprobs):
            raise ValueError(
                f"completion {completion.completion_id} has {len(completion.token_ids)} tokens and "
                f"{len(completion.logprobs)} log-probabilities; it needs one for each token and at least one token"
            )
        if not all(map(math.isfinite, completion.logprobs)):
            raise ValueError(f"completion {completion.completion_id} has a log-probability that is not finite")


def _check_lag(group: GradedGroup, policy_version: int, max_policy_lag: int) -> None:
    for completion in group.group.completions:
        if completion.min_policy_version < policy_version - max_policy_lag:
            raise StaleSample(completion.completion_id, completion.min_policy_version, policy_version, max_policy_lag)
