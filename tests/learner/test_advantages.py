import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.advantages import advantages, has_signal
from learner.config import Estimator

ESTIMATORS = get_args(Estimator)
REWARDS = st.floats(-1, 1).map(lambda value: round(value, 3))


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        # mean 0.5; squared differences 4 * 0.25, divided by 3: deviation 0.57735
        ("grpo", [0.8660254, -0.8660254, 0.8660254, -0.8660254]),
        ("dr_grpo", [0.5, -0.5, 0.5, -0.5]),
        # 1 minus the mean 1/3 of the others; 0 minus their mean 2/3
        ("rloo", [2 / 3, -2 / 3, 2 / 3, -2 / 3]),
    ],
)
def test_golden_group(estimator, expected):
    assert advantages([(1.0, 0.0, 1.0, 0.0)], estimator)[0] == pytest.approx(expected)


def test_golden_uneven_group():
    # mean 2; differences -1, -1, 2; deviation sqrt(6 / 2)
    assert advantages([(1.0, 1.0, 4.0)], "grpo")[0] == pytest.approx(
        [-1 / math.sqrt(3), -1 / math.sqrt(3), 2 / math.sqrt(3)]
    )
    assert advantages([(1.0, 1.0, 4.0)], "rloo")[0] == pytest.approx([-1.5, -1.5, 3.0])


def test_reinforce_pp_scales_by_the_whole_batch():
    # differences from the group means: -1, 1 and -3, 3; sum of squares 20, over 3: deviation 2.58199
    result = advantages([(0.0, 2.0), (0.0, 6.0)], "reinforce_pp")
    assert result[0] == pytest.approx([-0.3872983, 0.3872983])
    assert result[1] == pytest.approx([-1.1618950, 1.1618950])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(groups=st.lists(st.lists(st.one_of(st.none(), REWARDS), min_size=1, max_size=6), min_size=1, max_size=4))
def test_ungraded_completions_change_nothing(estimator, groups):
    """Invariant 5: an ungraded completion leaves the loss and the baseline."""
    with_ungraded = advantages(groups, estimator)
    without = advantages([[reward for reward in rewards if reward is not None] for rewards in groups], estimator)
    for rewards, mixed, pure in zip(groups, with_ungraded, without, strict=True):
        assert [value for value in mixed if value is not None] == pure
        assert [value is None for value in mixed] == [reward is None for reward in rewards]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_rewards_give_exactly_zero(estimator):
    assert advantages([(0.1 + 0.2, 0.3, 0.3)], estimator) == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_single_graded_completion_has_no_baseline_and_no_advantage(estimator):
    assert advantages([(None, 0.7, None)], estimator) == [[None, 0.0, None]]
    assert advantages([(None, None)], estimator) == [[None, None]]


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [((1.0, 0.0), True), ((1.0, 1.0), False), ((1.0, None), False), ((None, None), False), ((0.1 + 0.2, 0.3), False)],
)
def test_has_signal(rewards, expected):
    assert has_signal(rewards) is expected


def test_a_reward_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="must be None"):
        advantages([(1.0, math.nan)], "grpo")
