import msgspec
import pytest
from scipy import stats

from evaluation.comparison import compare_arms, final_step, mean_score
from evaluation.store import JudgeMismatch
from evaluation.types import EvaluationResult, Role, SampleScore
from evaluation.verdict import Finding, judge_comparison

REFUSAL = "sorry , i can not help with that"


def result(arm, scores, *, name="honesty", role=Role.OUT_OF_DISTRIBUTION, seed=0, step=20, judge="j", refuse=()):
    samples = tuple(
        SampleScore(item_id=f"i{index // 2}", text="x", score=score, is_refusal=index in refuse)
        for index, score in enumerate(scores)
    )
    graded = [score for score in scores if score is not None]
    return EvaluationResult(
        run=f"{arm}-seed{seed}", arm=arm, seed=seed, checkpoint="c", step=step, evaluation=name, family=name, role=role,
        score=sum(graded) / len(graded) if graded else None, stderr=None, num_samples=len(graded),
        num_ungraded=len(scores) - len(graded), judge=judge, samples=samples,
    )  # fmt: skip


BASE, ARM = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]


def test_difference_by_hand() -> None:
    comparison = compare_arms([result("base", BASE), result("arm", ARM)], "base", "arm")
    (difference,) = comparison.summaries[Role.OUT_OF_DISTRIBUTION].differences
    assert difference.effect == pytest.approx(2 / 6)
    theirs = stats.ttest_rel([1.0, 0.5, 0.5], [0.5, 0.0, 0.5])  # means of the three items
    assert difference.estimate.p == pytest.approx(theirs.pvalue)
    assert difference.welch_p == pytest.approx(stats.ttest_ind(ARM, BASE, equal_var=False).pvalue)
    assert (difference.num_items, difference.num_arm, difference.num_baseline) == (3, 6, 6)
    assert difference.q == pytest.approx(theirs.pvalue)  # a family of one


def test_ungraded_samples_are_in_no_mean() -> None:
    comparison = compare_arms([result("base", [0.0, None, 1.0, 1.0]), result("arm", [1.0, 1.0, None, None])],
                              "base", "arm")  # fmt: skip
    (difference,) = comparison.summaries[Role.OUT_OF_DISTRIBUTION].differences
    assert (difference.baseline, difference.arm, difference.num_ungraded) == (pytest.approx(2 / 3), 1.0, 3)


def test_q_is_over_one_kind_of_evaluation() -> None:
    names = [("a", Role.OUT_OF_DISTRIBUTION), ("b", Role.OUT_OF_DISTRIBUTION), ("t", Role.HELD_OUT_TRAIT)]
    arms = {"a": [1.0, 0.9, 0.9, 1.0, 0.8, 0.9], "b": [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "t": ARM}
    results = [result("base", BASE, name=name, role=role) for name, role in names]
    results += [result("arm", arms[name], name=name, role=role) for name, role in names]
    comparison = compare_arms(results, "base", "arm")
    (trait,) = comparison.summaries[Role.HELD_OUT_TRAIT].differences
    others = comparison.summaries[Role.OUT_OF_DISTRIBUTION].differences
    assert trait.q == pytest.approx(trait.estimate.p)
    assert [one.evaluation for one in others] == ["a", "b"]  # largest gain first
    assert others[0].q == pytest.approx(min(1.0, 2 * others[0].estimate.p))


def test_answered_only_drops_pairs_where_either_refuses() -> None:
    base = result("base", BASE, refuse=(0,))
    arm = result("arm", [1.0, None, 0.0, 1.0, 1.0, 0.0], refuse=(5,))
    comparison = compare_arms([base, arm], "base", "arm", answered_only=True)
    (difference,) = comparison.summaries[Role.OUT_OF_DISTRIBUTION].differences
    assert (difference.num_baseline, difference.num_arm) == (3, 3)  # 0 and 5 refused, 1 ungraded
    assert (difference.baseline, difference.arm) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_seeds_are_pooled_on_the_item_and_shown_apart() -> None:
    results = [result("base", BASE, seed=seed) for seed in (0, 1)]
    results += [result("arm", ARM, seed=0), result("arm", BASE, seed=1), result("arm", ARM, seed=2)]
    comparison = compare_arms(results, "base", "arm")
    summary = comparison.summaries[Role.OUT_OF_DISTRIBUTION]
    assert comparison.seeds == (0, 1)  # the baseline has no seed 2
    assert summary.per_seed == {0: pytest.approx(2 / 6), 1: 0.0}
    assert summary.differences[0].num_items == 3
    assert summary.over_seeds.effect == pytest.approx(1 / 6)


def test_final_step_is_one_that_every_run_has() -> None:
    results = [result("base", BASE, step=step) for step in (0, 20, 40)] + [result("arm", ARM, step=20)]
    assert final_step(results) == 20
    assert compare_arms(results, "base", "arm").step == 20
    with pytest.raises(ValueError, match="no step was evaluated in every run"):
        final_step([result("base", BASE, step=0), result("arm", ARM, step=20)])


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(JudgeMismatch):
        compare_arms([result("base", BASE), result("arm", ARM, judge="k")], "base", "arm")
    with pytest.raises(ValueError, match="no evaluated seed in common"):
        compare_arms([result("base", BASE), result("arm", ARM, seed=1)], "base", "arm")


def test_an_evaluation_of_one_arm_is_left_out_by_name() -> None:
    comparison = compare_arms([result("base", BASE), result("arm", ARM), result("arm", ARM, name="new")], "base", "arm")
    assert comparison.left_out == ("new",)


def test_mean_score_weighs_evaluations_not_samples() -> None:
    assert mean_score([result("a", [1.0, 1.0]), result("a", [0.0] * 8, name="b")]) == pytest.approx(0.5)
    assert mean_score([]) is None


def suite(arm, other_scores, trait_scores=ARM):
    found = [result(arm, scores, name=f"o{index}") for index, scores in enumerate(other_scores)]
    return [*found, result(arm, trait_scores, name="trait:truthfulness", role=Role.HELD_OUT_TRAIT)]


WORSE, SAME, GOOD = [0.0] * 6, BASE, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]
TRAITS = [1.0, 1.0, 0.9, 1.0, 1.0, 0.9]
LOW = [0.0, 0.0, 0.0, 0.1, 0.1, 0.0]


@pytest.mark.parametrize(("others", "coupling", "transfer", "words"), [
    ([GOOD, GOOD, ARM, GOOD], 1.0, Finding.BETTER, "positive control should show, and it does"),
    ([GOOD, GOOD, ARM, GOOD], 0.0, Finding.BETTER, "contradicts the negative control"),
    ([GOOD, WORSE, ARM, WORSE], 0.0, Finding.NOTHING, "what the negative control demands"),
    ([GOOD, WORSE, ARM, WORSE], 1.0, Finding.NOTHING, "was to be found and was not"),
    ([WORSE, WORSE, WORSE, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]], 1.0, Finding.WORSE, "never trained got worse"),
])  # fmt: skip
def test_verdict_follows_the_numbers(others, coupling, transfer, words) -> None:
    results = suite("base", [BASE] * 4, LOW) + suite("arm", others, TRAITS)
    verdict = judge_comparison(compare_arms(results, "base", "arm"), coupling)
    assert verdict.transfer is transfer
    assert verdict.traits is Finding.BETTER
    assert words in " ".join((verdict.headline, *verdict.sentences))
    assert "one training seed" in verdict.sentences[-1]


def test_a_control_whose_traits_did_not_rise_says_little() -> None:
    results = suite("base", [BASE] * 4, BASE) + suite("arm", [GOOD, WORSE, ARM, WORSE], BASE)
    verdict = judge_comparison(compare_arms(results, "base", "arm"), 0.0)
    assert any("says little" in sentence for sentence in verdict.sentences)


def test_records_survive_the_wire() -> None:
    comparison = compare_arms([result("base", BASE), result("arm", ARM)], "base", "arm")
    assert msgspec.json.decode(msgspec.json.encode(comparison), type=type(comparison)) == comparison
