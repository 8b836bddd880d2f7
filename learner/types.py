"""Records of the learner's boundary: what is trained on, and what a step did."""

import msgspec


class TrainSample(msgspec.Struct, frozen=True, kw_only=True):
    """One completion as the learner sees it. Every list of one value a token has length C."""

    prompt_token_ids: tuple[int, ...]
    completion_token_ids: tuple[int, ...]
    """C token ids."""
    rollout_logprobs: tuple[float, ...]
    """C log-probabilities (nats) under the policy that sampled them."""
    advantage: float
    """The same for every token of the completion."""
    source: str
    slot: int
    min_policy_version: int


class StepMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What one optimizer step did, averaged over tokens unless said otherwise."""

    step: int
    """Optimizer steps done, this one included: the policy version it produced."""
    loss: float
    grad_norm: float
    """L2 norm before clipping."""
    learning_rate: float
    clip_share: float
    """Share of tokens whose ratio was clipped, in [0, 1]."""
    entropy: float
    """Mean entropy of the policy at completion tokens, nats."""
    mismatch_kl: float
    """KL (k3 estimate) of the rollout policy from the learner's policy on the same tokens, nats."""
    mismatch_max: float
    """Largest absolute log-probability difference of trainer and rollout on one token."""
    reference_kl: float
    """KL to the reference policy, nats; 0 when there is none."""
    num_tokens: int
    """Prompt and completion tokens that passed through the learner, all ranks."""
    num_samples: int
    gradient_share: dict[str, float]
    """For each source, its share of the sum over tokens of |advantage|, in [0, 1]."""
    seconds: float
