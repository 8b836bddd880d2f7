"""The loss on OpenRLHF's parts, against numbers worked out by hand. Slow only because DeepSpeed is imported."""

import math

import pytest
import torch

from learner.config import LearnerConfig
from tests.learner.samples import sample

pytestmark = pytest.mark.slow

LOGPROBS = [-1.0, -2.0]
ROLLOUT = [-1.5, -1.0]
"""Ratios to the rollout policy: e^0.5 = 1.648721 and e^-1 = 0.367879."""


def terms(config, *, reference=None, world_size=1, advantage=2.0):
    """Loss terms and gradient of one completion of two tokens, padded to three."""
    from learner.loss import Objective
    from learner.policy import TokenBatch

    batch = TokenBatch(
        tokens=torch.zeros((1, 4), dtype=torch.long),
        attention_mask=torch.ones((1, 4), dtype=torch.long),
        loss_mask=torch.tensor([[1.0, 1.0, 0.0]]),
        rollout_logprobs=torch.tensor([[*ROLLOUT, 0.0]]),
        advantages=torch.tensor([[advantage]]),
    )
    logprobs = torch.tensor([[*LOGPROBS, -7.0]], requires_grad=True)
    objective = Objective(config, world_size)
    result = objective(batch, logprobs, reference, objective.normalization([sample(1, 2)]))
    result.loss.backward()
    return result, logprobs.grad[0].tolist()


@pytest.mark.parametrize(
    ("estimator", "loss", "gradient"),
    [
        # token losses -2 * 1.5 (capped) and -2 * 0.367879, over 2 tokens
        ("grpo", -1.8678794, [-1.5, -0.3678794, 0.0]),
        ("reinforce_pp", -1.8678794, [-1.5, -0.3678794, 0.0]),
        # their sum, over the constant 10
        ("dr_grpo", -0.3735759, [-0.3, -0.0735759, 0.0]),
        ("rloo", -0.3735759, [-0.3, -0.0735759, 0.0]),
    ],
)
def test_truncated_importance_correction(estimator, loss, gradient):
    config = LearnerConfig(estimator=estimator, importance_cap=1.5, length_normalizer=10)
    result, found = terms(config)
    assert result.loss.item() == pytest.approx(loss)
    assert found == pytest.approx(gradient)
    assert result.num_limited.item() == 1.0


def test_without_correction_the_clip_acts_on_the_ratio_to_the_rollout_policy():
    # advantage 2: min(2 * 1.6487, 2 * 1.28) and min(2 * 0.3679, 2 * 0.8); the clipped token has no gradient
    result, gradient = terms(LearnerConfig(importance_cap=0.0, clip_low=0.2, clip_high=0.28))
    assert result.loss.item() == pytest.approx(-(2.56 + 0.7357589) / 2)
    assert gradient == pytest.approx([0.0, -0.3678794, 0.0])
    assert result.num_limited.item() == 1.0


def test_mismatch_is_measured_at_completion_tokens_only():
    result, _ = terms(LearnerConfig())
    # k3 of each token: e^0.5 - 1 - 0.5 and e^-1 - 1 + 1
    assert result.mismatch_kl.item() == pytest.approx(0.1487213 + 0.3678794)
    assert result.mismatch_max.item() == 1.0


def test_reference_divergence_joins_the_loss():
    reference = torch.tensor([[-1.0, -3.0, 0.0]])
    config = LearnerConfig(kl_coefficient=0.5, importance_cap=2.0)
    result, gradient = terms(config, reference=reference, advantage=0.0)
    # k3: 0 for the first token; for the second, reference - learner = -1: e^-1 - 1 + 1
    assert result.reference_kl.item() == pytest.approx(0.3678794)
    assert result.loss.item() == pytest.approx(0.5 * 0.3678794 / 2)
    # gradient of the true KL: weight p_learner / p_rollout = e^-1, times the log-ratio 1
    assert gradient == pytest.approx([0.0, 0.5 * math.exp(-1) / 2, 0.0])


def test_the_loss_makes_up_for_the_averaging_over_ranks():
    one, _ = terms(LearnerConfig())
    two, _ = terms(LearnerConfig(), world_size=2)
    assert two.loss.item() == pytest.approx(2 * one.loss.item())
    assert two.mismatch_kl.item() == one.mismatch_kl.item()


def test_normalization_is_the_whole_batchs():
    from learner.loss import Objective

    samples = [sample(3, 5), sample(3, 2)]
    per_token = Objective(LearnerConfig(estimator="reinforce_pp"), 2).normalization(samples)
    constant = Objective(LearnerConfig(estimator="rloo", length_normalizer=10), 2).normalization(samples)
    assert per_token == {"dp_size": 2, "global_batch_size": 2, "batch_num_tokens": 7}
    assert constant["batch_num_tokens"] == 20


def test_entropy_of_known_distributions():
    from learner.policy import entropy, gather_logprobs

    logits = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [math.log(3.0), 0.0, -1e9, -1e9]]])
    logprobs, distribution = gather_logprobs(logits, torch.tensor([[2, 0]]))
    assert logprobs[0].tolist() == pytest.approx([math.log(0.25), math.log(0.75)])
    assert entropy(distribution)[0].tolist() == pytest.approx(
        [math.log(4), -0.75 * math.log(0.75) - 0.25 * math.log(0.25)]
    )


def test_collate_pads_prompts_left_and_completions_right():
    from learner.batch import MicroBatch
    from learner.policy import collate

    batch = collate(MicroBatch((sample(3, 1), sample(1, 2))), torch.device("cpu"))
    assert batch.tokens.tolist() == [[0, 1, 2, 0, 0], [0, 0, 0, 0, 1]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert batch.loss_mask.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    assert batch.completions.tolist() == [[0, 0], [0, 1]]


def test_flash_attention_is_still_reported_as_absent_after_the_import():
    import importlib.util
    import sys

    from learner import compat

    assert compat.PolicyLoss.__module__ == "openrlhf.models.loss"
    assert ("flash_attn" in sys.modules) == (importlib.util.find_spec("flash_attn") is not None)
