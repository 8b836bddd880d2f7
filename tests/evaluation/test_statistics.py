import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation import statistics as s


def test_welch_agrees_with_scipy() -> None:
    a, b = [0.9, 0.7, 0.8, 1.0, 0.6], [0.2, 0.5, 0.4]
    ours = s.welch(a, b)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert ours is not None
    assert ours.effect == pytest.approx(0.8 - 1.1 / 3)
    assert (ours.p, ours.df) == pytest.approx((theirs.pvalue, theirs.df))
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))


def test_paired_by_hand() -> None:
    ours = s.paired([3.0, 5.0, 4.0], [1.0, 2.0, 3.0])  # differences 2, 3, 1: mean 2, standard error 1 / sqrt(3)
    assert ours is not None
    assert ours.effect == pytest.approx(2.0)
    assert ours.stderr == pytest.approx(1 / math.sqrt(3))
    assert ours.p == pytest.approx(stats.ttest_rel([3, 5, 4], [1, 2, 3]).pvalue)


def test_paired_refuses_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="2 treated and 1 control"):
        s.paired([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    "call",
    [
        lambda: s.welch([1.0], [0.0, 1.0]),
        lambda: s.welch([1.0, 1.0], [0.0, 0.0]),
        lambda: s.paired([1.0], [0.0]),
        lambda: s.mean_of_estimates([]),
        lambda: s.clustered_standard_error([1.0, 0.0], ["x", "x"]),
        lambda: s.clustered_difference([], [], [1.0], ["x"]),
        lambda: s.clustered_difference([1.0], ["x"], [0.0], ["x"]),
        lambda: s.sign_test(0, 0),
        lambda: s.proportion_interval(0, 0),
        lambda: s.bootstrap_interval([1.0, 2.0], ["x", "x"], seed=0),
    ],
)
def test_nothing_to_say_is_none(call) -> None:
    assert call() is None


def test_clustered_standard_error_by_hand() -> None:
    # Mean 0.5; residuals +.5 +.5 -.5 -.5; clusters sum to +1 and -1; sqrt(2 / 1 * (1 + 1)) / 4 = 0.5.
    assert s.clustered_standard_error([1, 1, 0, 0], ["x", "x", "y", "y"]) == pytest.approx(0.5)
    # Crossed, each cluster sums to zero: the items do not differ at all.
    assert s.clustered_standard_error([1, 0, 1, 0], ["x", "x", "y", "y"]) == pytest.approx(0.0)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_clusters_of_one_give_the_ordinary_error(values) -> None:
    assert s.clustered_standard_error(values, range(len(values))) == pytest.approx(stats.sem(values), abs=1e-9)


def test_repeating_each_sample_adds_no_certainty() -> None:
    values = [0.0, 1.0, 1.0, 0.5]
    once = s.clustered_standard_error(values, range(4))
    assert s.clustered_standard_error(values * 10, list(range(4)) * 10) == pytest.approx(once)
    assert stats.sem(values * 10) < 0.4 * once  # what ignoring the items would have claimed


def test_clustered_difference_is_the_paired_test_of_item_means() -> None:
    treated, control = [1.0, 1.0, 0.0, 1.0, 0.5, 0.5], [0.0, 1.0, 0.0, 0.0, 0.5, 0.0]
    items = ["x", "x", "y", "y", "z", "z"]
    ours = s.clustered_difference(treated, items, control, items)
    means_t, means_c = [1.0, 0.5, 0.5], [0.5, 0.0, 0.25]
    theirs = stats.ttest_rel(means_t, means_c)
    assert ours is not None
    assert (ours.effect, ours.p, ours.df) == pytest.approx((1.25 / 3, theirs.pvalue, 2))


def test_clustered_difference_without_common_items_has_welchs_error_up_to_the_factor() -> None:
    a, b = [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]
    ours, welch = s.clustered_difference(a, "abcd", b, "efgh"), s.welch(a, b)
    assert ours is not None
    assert welch is not None
    assert ours.stderr == pytest.approx(welch.stderr * math.sqrt(8 / 7 * 3 / 4))


def test_mean_of_estimates_by_hand() -> None:
    parts = [s.estimate(0.2, 0.03, 10), s.estimate(0.4, 0.04, 10)]
    mean = s.mean_of_estimates(parts)
    assert mean is not None
    assert mean.effect == pytest.approx(0.3)
    assert mean.stderr == pytest.approx(0.025)  # sqrt(.0009 + .0016) / 2
    assert mean.df == pytest.approx(0.0025**2 / (0.0009**2 / 10 + 0.0016**2 / 10))


def test_benjamini_hochberg_by_hand() -> None:
    # Sorted: .01 * 3 / 1 = .03, .02 * 3 / 2 = .03, .40 * 3 / 3 = .40.
    assert s.benjamini_hochberg([0.40, None, 0.01, 0.02]) == [pytest.approx(0.40), None, *[pytest.approx(0.03)] * 2]
    assert s.benjamini_hochberg([None, None]) == [None, None]


def test_wins_by_hand() -> None:
    count = s.win_count([0.1, 0.2, 0.3, 0.1, -0.1, 0.0])
    assert count[:3] == (4, 1, 1)
    assert count.p == pytest.approx(2 * (5 + 1) / 32)
    assert s.sign_test(44, 9) == pytest.approx(stats.binomtest(44, 53).pvalue)


def test_wilson_interval_by_hand() -> None:
    low, high = s.proportion_interval(0, 10)
    z2 = stats.norm.ppf(0.975) ** 2
    assert (low, high) == pytest.approx((0.0, z2 / (10 + z2)))


def test_bootstrap_draws_whole_clusters_and_repeats_from_its_seed() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat(rng.normal(size=60), 5)
    items = np.repeat(np.arange(60), 5).tolist()
    low, high = s.bootstrap_interval(values, items, seed=1)
    assert (low, high) == s.bootstrap_interval(values, items, seed=1)
    half = 1.96 * s.clustered_standard_error(values, items)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(400):
        skill = rng.normal(size=25)
        items = np.repeat(np.arange(25), 4)
        a, b = (skill[items] + 0.3 * side + rng.normal(size=100) for side in (1, 0))
        got = s.clustered_difference(a, items.tolist(), b, items.tolist())
        hits += got.low <= 0.3 <= got.high
    assert 0.92 <= hits / 400 <= 0.98
