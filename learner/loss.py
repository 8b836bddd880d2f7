"""The loss of one optimizer step, on OpenRLHF's PolicyLoss.

**Ratio.** There is one optimizer step a batch, so the policy that is updated is also the "old"
policy of PPO: its log-probabilities are the current ones, detached, and no second forward pass is
needed. What differs is the policy that *sampled*: another engine, other kernels, up to
`max_policy_lag` versions older.

- `importance_cap` > 0: each token's loss is weighted by min(cap, p_learner / p_rollout), the
  truncated importance correction. PPO's ratio is 1, so its clip never acts.
- `importance_cap` = 0: no such weight. The rollout policy itself takes the place of PPO's old
  policy, and the clip acts on p_learner / p_rollout.

**Normalization**, always over the whole batch of all ranks, by the estimator's own paper:

- grpo: mean over a completion's tokens, then mean over completions.
- dr_grpo, rloo: sum over a completion's tokens, mean over completions, divided by the constant
  `length_normalizer`, so that long completions are not favoured or punished.
- reinforce_pp: mean over all completion tokens of the batch.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from learner.compat import PolicyLoss, aggregate_loss, compute_approx_kl
from learner.config import LearnerConfig
from learner.policy import TokenBatch
from learner.types import TrainSample


class LossTerms(NamedTuple):
    """The loss of a micro-batch and what is reported of it; sums are over completion tokens."""

    loss: Tensor
    """Scalar with gradient: this micro-batch's part of the batch's loss, times the number of ranks,
    because DeepSpeed averages gradients over ranks."""
    num_limited: Tensor
    """Tokens whose ratio to the rollout policy was capped or clipped."""
    mismatch_kl: Tensor
    """Sum of the k3 estimate of KL(rollout || learner)."""
    mismatch_max: Tensor
    """Largest |log-probability difference|."""
    reference_kl: Tensor
    """Sum of the k3 estimate of KL(learner || reference)."""


class Objective:
    """The loss of a learner's configuration."""

    def __init__(self, config: LearnerConfig, world_size: int) -> None:
        self.config = config
        self.world_size = world_size
        self._policy_loss = PolicyLoss(
            clip_eps_low=config.clip_low,
            clip_eps_high=config.clip_high,
            token_level_loss=config.estimator != "grpo",
            is_correction_level="token" if config.importance_cap > 0 else "off",
            is_correction_mode="clip",
            is_correction_threshold=[0.0, config.importance_cap],
        )

    def normalization(self, samples: Sequence[TrainSample]) -> dict[str, Any]:
        """What the token losses of a batch are divided by, as OpenRLHF's loss functions take it."""
        num_tokens = sum(len(sample.completion_token_ids) for sample in samples)
        constant = len(samples) * self.config.length_normalizer
        return {
            "dp_size": self.world_size,
            "global_batch_size": len(samples),
            "batch_num_tokens": num_tokens if self.config.estimator == "reinforce_pp" else constant,
        }

    def __call__(
        self, batch: TokenBatch, logprobs: Tensor, reference: Tensor | None, normalization: dict[str, Any]
    ) -> LossTerms:
        """Loss of one micro-batch.

        Args:
            batch: the micro-batch.
            logprobs: [B, C] of the learner's policy, with gradient.
            reference: [B, C] of the reference policy, or None when there is none.
            normalization: of the whole batch.
        """
        corrected = self.config.importance_cap > 0
        loss, clipped, _, _, capped = self._policy_loss(
            logprobs,
            logprobs.detach() if corrected else batch.rollout_logprobs,
            batch.advantages,
            action_mask=batch.loss_mask,
            rollout_log_probs=batch.rollout_logprobs,
            **normalization,
        )
        reference_kl = torch.zeros((), device=loss.device)
        if reference is not None:
            divergence = compute_approx_kl(
                logprobs, reference, batch.rollout_logprobs, kl_estimator="k3", unbiased_gradient=True
            )
            penalty = aggregate_loss(
                divergence, batch.loss_mask, token_level_loss=self._policy_loss.token_level_loss, **normalization
            )
            loss = loss + self.config.kl_coefficient * penalty
            reference_kl = (divergence.detach() * batch.loss_mask).sum()
        limited = (capped if corrected else clipped) * batch.loss_mask.sum()
        return LossTerms(loss, limited, *_mismatch(batch, logprobs.detach()), reference_kl)


def _mismatch(batch: TokenBatch, logprobs: Tensor) -> tuple[Tensor, Tensor]:
    divergence = compute_approx_kl(batch.rollout_logprobs, logprobs, kl_estimator="k3")
    difference = (logprobs - batch.rollout_logprobs).abs()
    return (divergence * batch.loss_mask).sum(), (difference * batch.loss_mask).max()
