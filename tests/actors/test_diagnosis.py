import pytest

from rollout.diagnosis import MIN_ATTEMPTS, WINDOW, AttemptHealth, Diagnosis


def health(rewards=(1.0, 0.0), truncated=0.0, ungraded=0.0) -> AttemptHealth:
    return AttemptHealth(rewards=rewards, truncated=truncated, ungraded=ungraded, zero_variance=len(set(rewards)) < 2)


ALIVE, SILENT = health(), health((1.0, 1.0))
CUT, UNGRADED = health(truncated=1.0), health((), ungraded=1.0)


def diagnosis_of(*attempts: AttemptHealth, source: str = "sums") -> Diagnosis:
    diagnosis = Diagnosis()
    for attempt in attempts:
        diagnosis.observe(source, attempt)
    return diagnosis


def test_figures_are_means_over_the_attempts_of_each_source():
    diagnosis = diagnosis_of(
        health((1.0, 0.0)), health((1.0, 1.0), truncated=0.5), health((), ungraded=1.0), health((0.5,), ungraded=0.5)
    )
    diagnosis.observe("other", health((0.0, 2.0)))
    assert diagnosis.metrics() == {
        "zero_variance/sums": 0.75,
        "truncated/sums": 0.125,
        "ungraded/sums": 0.375,
        "reward_spread/sums": pytest.approx(0.5 / 3),
        "zero_variance/other": 0.0,
        "truncated/other": 0.0,
        "ungraded/other": 0.0,
        "reward_spread/other": 1.0,
    }


def test_without_a_graded_completion_there_is_no_spread():
    assert "reward_spread/sums" not in diagnosis_of(UNGRADED).metrics()


def test_only_the_last_attempts_count():
    assert diagnosis_of(*[SILENT] * 10, *[ALIVE] * WINDOW).metrics()["zero_variance/sums"] == 0.0


def test_a_healthy_source_needs_no_words():
    assert diagnosis_of(*[ALIVE] * 7, *[SILENT] * 57).words() == []  # 57 of 64 is 0.89


def test_a_source_whose_rewards_are_all_equal_has_stopped_teaching():
    attempts = [*[ALIVE] * 6, *[SILENT] * 58]  # 58 of 64 is 0.906
    assert diagnosis_of(*attempts).words() == [
        "sums has stopped teaching: in 91% of its last 64 groups all rewards are equal "
        "(mean 0.95). Its prompts are too easy or too hard for this policy."
    ]


def test_a_source_is_cut_short_from_half_of_its_completions_on():
    assert diagnosis_of(*[CUT] * 7, *[ALIVE] * 9).words() == []
    assert diagnosis_of(*[CUT] * 8, *[ALIVE] * 8).words() == [
        "sums is cut short: 50% of its last completions hit the token limit. Raise rollout.sampling.max_tokens."
    ]


def test_a_source_without_verdicts_blames_the_judge_and_not_the_prompts():
    assert diagnosis_of(*[UNGRADED] * 16).words() == [
        "sums cannot be graded: 100% of its last completions have no verdict. Look at the judge."
    ]


def test_too_few_attempts_say_nothing():
    diagnosis = diagnosis_of(*[SILENT] * (MIN_ATTEMPTS - 1))
    assert diagnosis.words() == []
    diagnosis.observe("sums", SILENT)
    assert len(diagnosis.words()) == 1


def test_a_state_is_told_once_and_again_when_it_comes_back():
    diagnosis = diagnosis_of(*[SILENT] * 32)
    assert len(diagnosis.words()) == 1
    diagnosis.observe("sums", SILENT)
    assert diagnosis.words() == []
    for _ in range(WINDOW):
        diagnosis.observe("sums", ALIVE)
    assert diagnosis.words() == []
    for _ in range(WINDOW):
        diagnosis.observe("sums", SILENT)
    assert len(diagnosis.words()) == 1


def test_a_source_that_fails_in_another_way_is_told_again_and_each_source_for_itself():
    diagnosis = diagnosis_of(*[SILENT] * WINDOW)
    diagnosis.words()
    for _ in range(WINDOW):
        diagnosis.observe("sums", CUT)
        diagnosis.observe("care", UNGRADED)
    assert [sentence.split(" ")[0] for sentence in diagnosis.words()] == ["sums", "care"]


def test_a_share_that_only_changes_is_not_told_again():
    diagnosis = diagnosis_of(*[UNGRADED] * 16)
    assert len(diagnosis.words()) == 1
    diagnosis.observe("sums", ALIVE)
    assert diagnosis.words() == []
