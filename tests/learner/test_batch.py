import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.batch import MicroBatch, StaleSample, gradient_share, split_batch, train_samples
from tests.learner.samples import graded_group, sample

LENGTHS = st.tuples(st.integers(1, 60), st.integers(1, 40))


def by_slot(rank_plans):
    return sorted(s.slot for plan in rank_plans for micro in plan if micro for s in micro.samples)


@given(lengths=st.lists(LENGTHS, min_size=1, max_size=60), num_ranks=st.integers(1, 5), budget=st.integers(1, 400))
def test_every_sample_once_within_budget_and_as_many_micro_batches_on_every_rank(lengths, num_ranks, budget):
    samples = [sample(prompt, completion, slot=slot) for slot, (prompt, completion) in enumerate(lengths)]
    plans = split_batch(samples, num_ranks, budget)
    assert by_slot(plans) == list(range(len(samples)))
    assert len({len(plan) for plan in plans}) == 1
    for micro in (micro for plan in plans for micro in plan if micro):
        assert micro.padded_tokens <= budget or len(micro.samples) == 1
    assert plans == split_batch(samples, num_ranks, budget)


def test_equal_samples_fill_the_budget():
    # 10 tokens each; 4 fit into 40
    plan = split_batch([sample(7, 3) for _ in range(10)], 1, 40)[0]
    assert [len(micro.samples) for micro in plan] == [4, 4, 2]


def test_a_sample_longer_than_the_budget_goes_alone():
    plan = split_batch([sample(50, 50), sample(2, 3), sample(3, 2)], 1, 20)[0]
    assert [[len(s.prompt_token_ids) for s in micro.samples] for micro in plan] == [[2, 3], [50]]


def test_a_rank_with_fewer_micro_batches_halves_its_largest():
    # rank 0 gets the prompts of 4, 6 and 90 tokens, rank 1 those of 5 and 7
    plans = split_batch([sample(p, 1) for p in (4, 5, 6, 7, 90)], 2, 30)
    lengths = [[[len(s.prompt_token_ids) for s in micro.samples] for micro in plan] for plan in plans]
    assert lengths == [[[4, 6], [90]], [[5], [7]]]


def test_a_rank_without_samples_gets_empty_micro_batches():
    assert split_batch([sample(4, 1)], 2, 30)[1] == [None]


def test_padding_is_counted():
    assert MicroBatch((sample(5, 1), sample(2, 4))).padded_tokens == 2 * (5 + 4)


def test_train_samples_carry_the_group_and_leave_out_the_ungraded():
    group = graded_group([1.0, None, 0.0], slot=4, source="intervention", version=7)
    samples = train_samples([group], "dr_grpo", policy_version=8, max_policy_lag=1)
    assert [s.advantage for s in samples] == [0.5, -0.5]
    assert [s.completion_token_ids for s in samples] == [(0, 9), (2, 9)]
    assert {(s.slot, s.source, s.min_policy_version) for s in samples} == {(4, "intervention", 7)}


@pytest.mark.parametrize(("version", "allowed"), [(8, True), (9, True), (10, True), (7, False)])
def test_no_sample_older_than_the_lag_is_let_through(version, allowed):
    """Invariant 3, at the last door before the loss."""
    groups = [graded_group([1.0, 0.0], version=10), graded_group([1.0, 0.0], slot=1, version=version)]
    if allowed:
        assert len(train_samples(groups, "grpo", policy_version=10, max_policy_lag=2)) == 4
        return
    with pytest.raises(StaleSample, match=r"completion 1\.0\.0 .* version 7, but version 10") as caught:
        train_samples(groups, "grpo", policy_version=10, max_policy_lag=2)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  our own bytes


def test_grades_of_other_completions_are_refused():
    good, other = graded_group([1.0, 0.0]), graded_group([1.0, 0.0], slot=1)
    mixed = type(good)(group=good.group, grades=other.grades)
    with pytest.raises(ValueError, match=r"grades of \['1.0.0', '1.0.1'\]"):
        train_samples([mixed], "grpo", policy_version=0, max_policy_lag=0)


def test_gradient_share_weighs_by_tokens_and_size_of_advantage():
    samples = [
        sample(3, 10, advantage=-0.5, source="standard"),
        sample(3, 5, advantage=1.0, source="standard"),
        sample(3, 2, advantage=5.0, source="intervention"),
    ]
    assert gradient_share(samples) == pytest.approx({"standard": 0.5, "intervention": 0.5})
    assert gradient_share([sample(3, 2, advantage=0.0)]) == {"standard": 0.0}
